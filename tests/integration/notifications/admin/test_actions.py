"""Every action is checked against a permission, and written to the admin's log."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client, RequestFactory

from notifications.admin.urls import urlpatterns
from notifications.models import FailedDelivery, Notification, Suppression
from tests.integration.notifications.admin.test_roles import as_role

__all__ = ["as_role"]

BASE = "/admin/notifications"
PAGES = [page for page in admin.site._registry.values() if "unfold" in str(type(page).__mro__)]
ACTIONS = [
    (page, name)
    for page in PAGES
    for name in (*(page.actions or ()), *getattr(page, "actions_detail", ()))
    if isinstance(name, str)
]


@pytest.mark.parametrize(
    ("page", "name"), ACTIONS, ids=[f"{page.model.__name__}-{name}" for page, name in ACTIONS]
)
def test_every_action_of_every_page_names_its_permission(page: Any, name: Any) -> None:
    assert getattr(page, name).allowed_permissions


def test_a_viewer_is_offered_no_action(as_role: Any) -> None:
    as_role("viewer")
    request = RequestFactory().get("/")
    request.user = User.objects.get(username="viewer")
    offered = {
        f"{page.model.__name__}-{name}" for page in PAGES for name in page.get_actions(request)
    }
    assert offered == set()
    assert Group.objects.filter(name="viewer").exists()


@pytest.mark.parametrize(
    ("path", "form", "said"),
    [
        ("faileddelivery/{dead}/replay/", {}, "Replayed as"),
        ("faileddelivery/{dead}/discard/", {"reason": "a test"}, "Discarded: a test"),
        ("faileddelivery/causes/{cause}/discard/", {"reason": "old"}, "old"),
        ("notification/{row}/resend/", {}, "Sent again as"),
        ("notification/{row}/suppress/", {}, "Suppressed"),
    ],
)
def test_what_is_done_on_a_page_is_written_to_the_log(
    boss: Client, dead: Callable[..., Any], path: str, form: dict[str, Any], said: str
) -> None:
    letter = dead()
    where = path.format(dead=letter.pk, cause=letter.fingerprint, row=letter.notification_id)
    boss.post(f"{BASE}/{where}", {"_form_submitted": "on", **form})
    entry = LogEntry.objects.get()
    assert said in entry.change_message
    assert entry.user.username == "boss"


def act(client: Client, model: Any, action: Any, row: Any) -> None:
    data = {"action": action, "_selected_action": [row.pk]}
    assert client.post(f"{BASE}/{model}/", data, follow=True).status_code == 200


def test_what_is_done_to_chosen_rows_is_written_to_the_log(
    boss: Client, dead: Callable[..., Any]
) -> None:
    act(boss, "faileddelivery", "replay_selected", dead())
    held = Suppression.objects.create(
        channel="email", recipient="ada@example.org", reason="operator", source="test"
    )
    act(boss, "suppression", "lift", held)
    said = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
    assert list(said) == ["Replayed.", "Lifted."]
    assert Notification.objects.filter(replay_of__isnull=False).count() == 1
    assert not FailedDelivery.objects.filter(state="open").exists()


@pytest.mark.parametrize(("role", "sees"), [("viewer", False), ("operator", True)])
def test_a_suppressed_recipient_is_masked_without_the_permission(
    as_role: Any, role: str, sees: bool
) -> None:
    held = Suppression.objects.create(
        channel="email", recipient="ada@example.org", reason="operator", source="test"
    )
    person = as_role(role)
    for where in (f"{BASE}/suppression/", f"{BASE}/suppression/{held.pk}/change/"):
        page = person.get(where).content.decode()
        assert ("ada@example.org" in page) is sees
        assert ("a…@example.org" in page) is not sees


def test_what_lies_beside_the_admin_wants_a_login(client: Client, db: None) -> None:
    for pattern in urlpatterns:
        if pattern.name and "uuid" not in str(pattern.pattern):
            answer = client.get(f"/{pattern.pattern}")
            assert answer.status_code == 302, pattern
            assert "/admin/login/" in answer.headers["Location"]
