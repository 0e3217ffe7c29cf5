"""A row that faults a shared loop again and again is passed over, and shown to people."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from notifications.db import clock
from notifications.models import Notification, QuarantinedRow
from notifications.queueing import quarantine
from tests.integration.notifications.admin.test_roles import as_role
from tests.integration.notifications.faults import rested

__all__ = ["as_role"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows(accepted: Callable[..., Notification]) -> list[Any]:
    return [accepted() for _ in range(5)]


def one_round(bad: Any) -> list[Any]:
    """Do a round of a loop that faults at one row; return the rows that it worked on."""
    worked = []

    def work(row: Any) -> None:
        Notification.objects.filter(id=row.id).update(reason="worked on")
        if row == bad:
            raise ValueError("ada@example.org")
        worked.append(row.id)

    wanted = quarantine.passing_over(Notification.objects.order_by("id"), "test")
    keys = list(wanted.values_list("pk", flat=True))
    quarantine.work_off("test", Notification.objects.all(), keys, work)
    return worked


def test_a_row_that_faults_costs_itself_and_is_undone(rows: list[Any]) -> None:
    assert one_round(rows[2]) == [row.id for row in rows if row != rows[2]]
    rows[2].refresh_from_db()
    assert rows[2].reason == ""


def test_the_third_fault_quarantines_a_row_with_its_reason(rows: list[Any]) -> None:
    for _ in range(3):
        one_round(rows[2])
        rested()
    held = QuarantinedRow.objects.open().get()
    assert (held.loop, held.key, held.stage) == ("test", quarantine.key_of(rows[2].id), "test")
    assert (held.reason, held.fault_count) == ("ValueError", 3)
    assert [(q.loop, q.rows, q.oldest) for q in QuarantinedRow.objects.by_loop()] == [
        ("test", 1, held.quarantined_at)
    ]


def test_a_row_rests_after_a_fault_and_is_then_tried_again(rows: list[Any]) -> None:
    one_round(rows[2])
    one_round(rows[2])
    assert QuarantinedRow.objects.get().fault_count == 1
    rested()
    one_round(rows[2])
    assert QuarantinedRow.objects.get().fault_count == 2
    assert not QuarantinedRow.objects.open().exists()


def test_a_row_that_was_released_is_tried_again_and_counted_anew(rows: list[Any]) -> None:
    for _ in range(3):
        one_round(rows[2])
        rested()
    assert quarantine.release(QuarantinedRow.objects.all()) == 1
    assert one_round(rows[0]) == [row.id for row in rows[1:]]
    assert not QuarantinedRow.objects.open().exists()


def test_what_is_in_quarantine_is_kept_and_the_rest_is_forgotten(rows: list[Any]) -> None:
    for _ in range(3):
        one_round(rows[2])
        rested()
    one_round(rows[3])
    assert quarantine.forget(clock.now() + timedelta(seconds=1)) == 1
    assert QuarantinedRow.objects.open().count() == 1


@pytest.mark.parametrize(("role", "released"), [("operator", True), ("viewer", False)])
def test_an_operator_releases_in_the_admin(
    as_role: Any, rows: list[Any], role: str, released: bool
) -> None:
    for _ in range(3):
        one_round(rows[2])
        rested()
    client = as_role(role)
    page = reverse("admin:notifications_quarantinedrow_changelist")
    assert quarantine.key_of(rows[2].id) in client.get(page).content.decode()
    chosen = QuarantinedRow.objects.get().pk
    client.post(page, {"action": "release", "_selected_action": [chosen]})
    row = QuarantinedRow.objects.get()
    assert (row.released_at is not None) is released
    assert row.released_by == (User.objects.get() if released else None)
