"""Roles: each may do its own, and nothing beyond."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from notifications.models import Notification, ProviderAccount, Status
from scheduling.models import Schedule
from tests import roles

LIST = "/admin/notifications/notification/"
ARCHIVE = "/admin/notifications/archivednotification/"


@pytest.fixture
def as_role(client: Client, transactional_db: None) -> Callable[..., Any]:
    """The browser of somebody with one role; the table is made anew, as tests empty it."""
    roles.make()

    def as_role(role: str) -> Any:
        client.force_login(roles.person(role))
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
def test_a_role_may_do_its_own_and_nothing_beyond(
    as_role: Callable[..., Any],
    accepted: Callable[..., Notification],
    role: str,
    may: dict[str, Any],
) -> None:
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


def test_making_the_roles_twice_changes_nothing(as_role: Callable[..., Any]) -> None:
    before = {g.name: g.permissions.count() for g in Group.objects.all()}
    roles.migrate()
    assert {g.name: g.permissions.count() for g in Group.objects.all()} == before
    assert set(before) == {"viewer", "author", "operator", "admin"}


@pytest.mark.parametrize("role", ["viewer", "author", "operator", "admin"])
def test_every_page_of_the_sidebar_opens_for_who_sees_it(
    as_role: Callable[..., Any], role: str
) -> None:
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


@pytest.mark.parametrize(("role", "may"), [("operator", False), ("admin", True)])
def test_accounts_and_what_schedules_do_are_an_administrators(
    as_role: Callable[..., Any], role: str, may: bool
) -> None:
    row = ProviderAccount.objects.create(name="chat-a", channel="chat", kind="slack")
    task = PeriodicTask.objects.create(
        name="tidy", task="shop.tidy", interval=IntervalSchedule.objects.create(every=9)
    )
    Schedule.objects.get_or_create(pk=task.pk)
    person = as_role(role)
    account = f"/admin/notifications/provideraccount/{row.pk}"
    schedule = f"/admin/django_celery_beat/periodictask/{task.pk}"
    confirmed = {"_form_submitted": "on", "recipient": "ada"}
    refused = {
        person.post(f"{account}/change/", {"settings": "{}"}).status_code == 403,
        person.post(f"{account}/send_test/", confirmed).status_code == 403,
        person.post(f"{schedule}/change/", {"name": "x"}).status_code == 403,
        person.get("/admin/django_celery_beat/periodictask/add/").status_code == 403,
        person.post(f"{schedule}/delete/", {"post": "yes"}).status_code == 403,
    }
    assert refused == {not may}


def test_an_operator_pauses_a_schedule(as_role: Callable[..., Any]) -> None:
    task = PeriodicTask.objects.create(
        name="tidy", task="shop.tidy", interval=IntervalSchedule.objects.create(every=9)
    )
    operator = as_role("operator")
    where = f"/admin/django_celery_beat/periodictask/{task.pk}/pause/"
    assert operator.post(where, {"_form_submitted": "on"}).status_code in (200, 302)
    task.refresh_from_db()
    assert not task.enabled
