"""Failed deliveries by cause: dry run, replay at a rate, discard with a reason."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from notifications.core.errors import InvalidField
from notifications.models import BulkReplay, FailedDelivery, Notification
from notifications.operations import bulk_replays

CAUSES = "/admin/notifications/faileddelivery/causes/"
LIST = "/admin/notifications/faileddelivery/"


def work_off() -> None:
    while bulk_replays.tick() == 0:
        pass


def test_failures_are_grouped_by_cause_the_biggest_first(
    boss: Client, dead: Callable[..., Any]
) -> None:
    small, big = dead(code="553"), [dead(), dead(), dead()]
    shown = [cause for cause, _ in boss.get(CAUSES).context["causes"]]
    assert [(c.fingerprint, c.count) for c in shown] == [
        (big[0].fingerprint, 3),
        (small.fingerprint, 1),
    ]
    assert shown[0].hourly[-1] == 3


def test_a_dry_run_tells_what_would_happen_and_does_nothing(
    boss: Client, dead: Callable[..., Any]
) -> None:
    fingerprint = dead().fingerprint
    response = boss.post(f"{CAUSES}{fingerprint}/replay/", {"per_second": "5", "dry": ""})
    assert "Dry run" in response.content.decode()
    assert not BulkReplay.objects.exists()
    assert FailedDelivery.objects.get().state == "open"


def test_a_replay_spreads_the_cause_over_time_and_leaves_the_others(
    boss: Client, dead: Callable[..., Any]
) -> None:
    other = dead(code="553")
    ones = [dead() for _ in range(4)]
    boss.post(f"{CAUSES}{ones[0].fingerprint}/replay/", {"per_second": "0.5", "go": ""})
    work_off()
    order = BulkReplay.objects.get()
    assert (order.total, order.accepted, order.refused) == (4, 4, {})
    assert order.finished_at is not None
    times = list(
        Notification.objects.filter(replay_of__isnull=False)
        .order_by("scheduled_at")
        .values_list("scheduled_at", flat=True)
    )
    gaps = [(b - a).total_seconds() for a, b in pairwise(times)]
    assert all(1.5 < gap < 2.5 for gap in gaps[1:])
    other.refresh_from_db()
    assert other.state == "open"
    assert "Replay of 4" in LogEntry.objects.get().change_message


def test_an_order_goes_on_where_a_killed_scheduler_left_it(
    dead: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_replays, "BATCH", 2)
    for _ in range(5):
        dead()
    order = bulk_replays.order("", 100)
    bulk_replays.tick()
    order.refresh_from_db()
    assert (order.done, order.finished_at) == (2, None)
    work_off()
    order.refresh_from_db()
    assert order.accepted == 5
    assert FailedDelivery.objects.filter(state="replayed").count() == 5


def test_each_of_many_is_linked_to_its_own_replay(dead: Callable[..., Any]) -> None:
    ones = [dead(recipient=f"user{n}?result=permanent&code=550") for n in range(5)]
    bulk_replays.order("", 1000)
    work_off()
    for letter in ones:
        letter.refresh_from_db()
        assert letter.state == "replayed"
        assert letter.replayed_as.replay_of_id == letter.notification_id
        assert letter.replayed_as.recipient == letter.notification.recipient


def test_a_forecast_goes_by_the_rate_or_by_the_pace_seen_where_that_is_slower(
    boss: Client, dead: Callable[..., Any]
) -> None:
    fingerprint = dead().fingerprint
    assert bulk_replays.seconds_for(600, 10) == 60
    slow = bulk_replays.order("", 10_000)
    began = slow.created_at - timedelta(seconds=100)
    BulkReplay.objects.filter(pk=slow.pk).update(
        total=30_000, accepted=30_000, created_at=began, finished_at=began + timedelta(seconds=100)
    )
    assert bulk_replays.seconds_for(3000, 10_000) == pytest.approx(10)
    waiting = bulk_replays.order("", 10_000)  # and the new one waits for it
    BulkReplay.objects.filter(pk=waiting.pk).update(total=3000)
    assert bulk_replays.seconds_for(3000, 10_000) == pytest.approx(20)
    response = boss.post(f"{CAUSES}{fingerprint}/replay/", {"per_second": "0.01", "dry": ""})
    assert "due in about 100 s" in response.content.decode()


def test_what_is_past_its_expiry_is_refused_and_counted_by_reason(
    dead: Callable[..., Any], age: Callable[..., None]
) -> None:
    letter = dead(expires=3600)
    Notification.objects.filter(pk=letter.notification_id).update(expires_at=letter.created_at)
    order = bulk_replays.order("", 100)
    work_off()
    order.refresh_from_db()
    assert order.accepted == 0
    assert sum(order.refused.values()) == 1


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e9])
def test_an_impossible_rate_is_refused(dead: Callable[..., Any], rate: Any) -> None:
    with pytest.raises(InvalidField):
        bulk_replays.order("", rate)


def test_discarding_wants_a_reason_and_keeps_it(boss: Client, dead: Callable[..., Any]) -> None:
    letter = dead()
    boss.post(f"{CAUSES}{letter.fingerprint}/discard/", {"reason": ""})
    letter.refresh_from_db()
    assert letter.state == "open"
    boss.post(f"{CAUSES}{letter.fingerprint}/discard/", {"reason": "test accounts"})
    letter.refresh_from_db()
    assert (letter.state, letter.resolution, letter.resolved_by.username) == (
        "discarded",
        "test accounts",
        "boss",
    )


def test_one_is_replayed_from_its_page_and_only_once(
    boss: Client, dead: Callable[..., Any]
) -> None:
    letter = dead()
    for _ in range(2):
        boss.post(f"{LIST}{letter.pk}/replay/", {"_form_submitted": "on"})
    assert Notification.objects.filter(replay_of=letter.notification).count() == 1


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_who_may_only_look_can_neither_replay_nor_discard(
    browser_of: Callable[..., Any], dead: Callable[..., Any], verb: str
) -> None:
    letter = dead()
    viewer = browser_of("view_faileddelivery")
    assert viewer.get(CAUSES).status_code == 200
    form = {"per_second": "5", "go": "", "reason": "why", "_form_submitted": "on"}
    assert viewer.post(f"{CAUSES}{letter.fingerprint}/{verb}/", form).status_code == 403
    assert viewer.post(f"{LIST}{letter.pk}/{verb}/", form).status_code == 403
    letter.refresh_from_db()
    assert letter.state == "open"


def test_each_page_of_a_dead_letter_opens(boss: Client, dead: Callable[..., Any]) -> None:
    letter = dead()
    for where in (LIST, f"{LIST}{letter.pk}/change/", "/admin/notifications/bulkreplay/"):
        assert boss.get(where).status_code == 200
