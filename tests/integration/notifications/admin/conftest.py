"""A person at the admin, with what there is to look at."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client


@pytest.fixture
def boss(client: Client, transactional_db: None) -> Client:
    """The browser of a logged-in superuser."""
    client.force_login(User.objects.create_superuser("boss", password="secret"))
    return client


@pytest.fixture
def browser_of(client: Client, transactional_db: None) -> Callable[..., Any]:
    """``browser_of("view_notification", …)``: a staff member with just these permissions."""

    def browser(*codenames: Any) -> Any:
        user = User.objects.create_user("staff", password="secret", is_staff=True)
        permissions = Permission.objects.filter(
            codename__in=codenames, content_type__app_label="notifications"
        )
        assert permissions.count() == len(codenames)
        user.user_permissions.set(permissions)
        client.force_login(user)
        return client

    return browser
