"""Roles: each may do its own, and nothing beyond."""

from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User

from notifications.models import Status

LIST = "/admin/notifications/notification/"
ARCHIVE = "/admin/notifications/archivednotification/"


@pytest.fixture
def as_role(client, transactional_db):
    """The browser of somebody with one role; the table is made anew, as tests empty it."""
    import_module("config.migrations.0001_roles").make_roles(apps, None)
    import_module("config.migrations.0002_archive_is_seen").let_see(apps, None)

    def as_role(role):
        user = User.objects.create_user(role, password="secret", is_staff=True)
        user.groups.set([Group.objects.get(name=role)])
        client.force_login(user)
        return client

    return as_role


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (
            "viewer",
            {"see": True, "content": False, "cancel": False, "write": False, "users": False},
        ),
        ("author", {"see": True, "content": False, "cancel": False, "write": True, "users": False}),
        (
            "operator",
            {"see": True, "content": True, "cancel": True, "write": False, "users": False},
        ),
        ("admin", {"see": True, "content": True, "cancel": True, "write": True, "users": True}),
    ],
)
def test_a_role_may_do_its_own_and_nothing_beyond(as_role, accepted, role, may):
    row = accepted(countdown=600, body="the secret body")
    person = as_role(role)
    page = person.get(f"{LIST}{row.pk}/change/")
    assert (page.status_code == 200) is may["see"]
    assert ("the secret body" in page.content.decode()) is may["content"]
    assert (person.get(ARCHIVE).status_code == 200) is may["see"]
    person.post(f"{LIST}{row.pk}/cancel/", {"_form_submitted": "on"})
    row.refresh_from_db()
    assert (row.status == Status.CANCELLED) is may["cancel"]
    writes = person.get("/admin/templates_engine/template/add/").status_code == 200
    assert writes is may["write"]
    assert (person.get("/admin/auth/user/").status_code == 200) is may["users"]


def test_making_the_roles_twice_changes_nothing(as_role):
    before = {g.name: g.permissions.count() for g in Group.objects.all()}
    import_module("config.migrations.0001_roles").make_roles(apps, None)
    import_module("config.migrations.0002_archive_is_seen").let_see(apps, None)
    assert {g.name: g.permissions.count() for g in Group.objects.all()} == before
    assert set(before) == {"viewer", "author", "operator", "admin"}


@pytest.mark.parametrize("role", ["viewer", "author", "operator", "admin"])
def test_every_page_of_the_sidebar_opens_for_who_sees_it(as_role, role):
    person = as_role(role)
    page = person.get("/admin/")
    links = {
        item["link"]
        for group in page.context["sidebar_navigation"]
        for item in group["items"]
        if item["has_permission"]
    }
    assert len(links) >= 8
    for link in links:
        assert person.get(str(link)).status_code == 200, link
