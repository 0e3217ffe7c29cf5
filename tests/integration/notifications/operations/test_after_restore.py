"""What was open as a backup was made is not done again by the restored database."""

import time
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from notifications.audiences import expansion, save_audience, send_to_audience
from notifications.chains import save_chain, send_chain
from notifications.db import clock
from notifications.models import Batch, BulkReplay, FailedDelivery, Notification, Status
from notifications.monitoring import overview
from notifications.operations import bulk_replays, holds
from tests.many_recipients import fill

pytestmark = pytest.mark.django_db(transaction=True)


def after_restore(*options: str) -> str:
    out, stopped = StringIO(), clock.now().isoformat()
    call_command("after_restore", *options, stopped_at=stopped, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_batch_that_is_half_written_and_a_replay_under_way_end(
    accepted: Callable[..., Notification],
    deliver: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expansion, "CHUNK", 3)
    monkeypatch.setattr(bulk_replays, "BATCH", 1)
    for name in ("ada", "eve"):
        deliver(accepted(recipient=f"{name}?result=permanent&code=550"))
    fill(10)
    save_audience("all", {"everyone": True})
    send_to_audience("all", channel="simulator", body="Hello")
    expansion.tick()
    bulk_replays.order("", 100)
    bulk_replays.tick()
    # A hold keeps what is written from being sent, not rows from being written.
    holds.hold("everything")
    assert sum(queue.held for queue in overview.read().queues) == 4
    ends = "4 notifications, 0 runs of jobs, 1 batches to audiences and 1 replays"
    assert ends in after_restore("--dry-run")
    assert Batch.objects.get().state == Batch.State.ACTIVE

    assert ends in after_restore()
    while expansion.tick() == expansion.BUSY or bulk_replays.tick() == 0:
        pass
    batch = Batch.objects.get()
    assert (batch.state, batch.expansion.left, batch.expansion.cancelled) == ("cancelled", 0, 7)
    replayed = BulkReplay.objects.get()
    assert replayed.refused == {"due before the database was restored": 1}
    assert replayed.finished_at is not None
    assert FailedDelivery.objects.filter(state=FailedDelivery.State.OPEN).count() == 1
    assert not Notification.objects.exclude(status__in=(Status.CANCELLED, Status.FAILED)).exists()
    nothing = "0 notifications, 0 runs of jobs, 0 batches to audiences and 0 replays"
    assert nothing in after_restore()


def test_what_was_never_tried_and_falls_due_later_still_goes(
    accepted: Callable[..., Notification],
) -> None:
    waits, was_due, was_tried = accepted(countdown=0.1), accepted(), accepted()
    later = clock.now() + timedelta(hours=8)
    Notification.objects.filter(pk__in=(waits.pk, was_tried.pk)).update(due_at=later)
    Notification.objects.filter(pk=was_tried.pk).update(status="scheduled", attempt_count=1)
    time.sleep(0.1)
    assert "Cancelled 2 notifications" in after_restore()
    ended = Notification.objects.filter(status=Status.CANCELLED).values_list("pk", flat=True)
    assert set(ended) == {was_due.pk, was_tried.pk}


def test_the_later_steps_of_a_chain_end_with_one_that_may_have_reached() -> None:
    step = {"channel": "simulator", "body": "Your code", "wait": 600}
    save_chain("otp", [step, step], stop_on="delivered")
    send_chain("otp", recipients={"simulator": "ada"})
    assert "Cancelled 2 notifications" in after_restore()
    assert {row.status for row in Notification.objects.all()} == {Status.CANCELLED}
