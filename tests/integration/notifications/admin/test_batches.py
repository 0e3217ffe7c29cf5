"""Batches: watched and steered as one."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from notifications.models import Batch, Notification, Status
from notifications.submission.bulk import send_many

LIST = "/admin/notifications/batch/"


@pytest.fixture
def batch(transactional_db: None) -> Batch:
    rows = [{"channel": "simulator", "recipient": f"ada{n}", "body": "Hi"} for n in range(3)]
    return send_many([*rows, {"channel": "nowhere"}], name="campaign", countdown=600).batch


def test_a_batch_shows_its_progress_and_its_refused_rows(
    boss: Client, batch: Batch, deliver: Callable[..., Any]
) -> None:
    Notification.objects.filter(batch=batch).update(status=Status.CANCELLED, due_at=None)
    assert "3 of 3" in boss.get(LIST).content.decode()
    page = boss.get(f"{LIST}{batch.pk}/change/").content.decode()
    assert "3 cancelled" in page
    assert "row 4" in page


def test_a_batch_is_paused_resumed_and_cancelled_with_a_line_in_the_log(
    boss: Client, batch: Batch
) -> None:
    for verb, state in (("pause", "paused"), ("resume", "active"), ("cancel", "cancelled")):
        boss.post(LIST, {"action": verb, "_selected_action": [str(batch.pk)]})
        batch.refresh_from_db()
        assert batch.state == state
    assert LogEntry.objects.count() == 3
    assert set(Notification.objects.values_list("status", flat=True)) == {Status.CANCELLED}


def test_who_may_only_look_steers_no_batch(browser_of: Callable[..., Any], batch: Batch) -> None:
    viewer = browser_of("view_batch")
    viewer.post(LIST, {"action": "cancel", "_selected_action": [str(batch.pk)]})
    assert Batch.objects.get(pk=batch.pk).state == "active"
