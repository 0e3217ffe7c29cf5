"""Every loop that works on more than one row: one that faults costs itself, then is quarantined."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Never

import pytest
from django.db import connection
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from pytest_django import Settings

from notifications import submission
from notifications.callbacks import outbound, receipts
from notifications.canvas import followers
from notifications.channels import CHANNELS
from notifications.channels.base import Receipt
from notifications.db import clock, dialect
from notifications.delivery import claims, outcomes, pipeline
from notifications.maintenance import retention, sweep
from notifications.metrics import process_folders
from notifications.models import (
    FailedDelivery,
    Notification,
    PendingReceipt,
    QuarantinedRow,
    Status,
)
from notifications.monitoring import exposition
from notifications.operations import bulk_replays, replays
from notifications.providers import accounts
from notifications.queueing import quarantine
from notifications.transitions import claimed as claimed_rows
from scheduling import isolation
from tests.integration.notifications.faults import ERRORS, plant, rested

COUNT = 20
pytestmark = pytest.mark.usefixtures("no_content_in_logs")


@pytest.fixture
def rows(transactional_db: None) -> Iterator[Callable[..., Any]]:
    """Accept some notifications at once; return their ids in order."""

    def accept(**common: Any) -> Any:
        each = [{"recipient": f"p{number}"} for number in range(COUNT)]
        fields = {"channel": "simulator", "body": "Hello", **common}
        return submission.send_many(each, **fields).ids

    yield accept
    accounts.forget()


@pytest.fixture
def claimed(rows: Callable[..., Any]) -> Any:
    """Claim some notifications, whose leases are over."""
    ids = rows(priority="high")
    claims.claim(ids)
    past = clock.now() - timedelta(minutes=1)
    Notification.objects.filter(id__in=ids).update(due_at=past)
    return ids


@pytest.fixture
def sent(rows: Callable[..., Any]) -> Callable[..., Any]:
    """Deliver some notifications."""

    def deliver(**common: Any) -> Any:
        ids = rows(**common)
        pipeline.deliver(claims.claim(ids), worker="test")
        return ids

    return deliver


def bad_ones(ids: Any) -> dict[Any, Any]:
    """Give each error one of the rows: it is raised wherever that one is worked on."""
    return dict(zip(ids[2::3], ERRORS, strict=False))


def states(ids: Any, bad: Any = ()) -> set[Any]:
    """The states of all rows but these."""
    rows = Notification.objects.filter(id__in=set(ids) - set(bad))
    return set(rows.values_list("status", flat=True))


def assert_quarantined(loop: Any, bad: Any) -> None:
    held = QuarantinedRow.objects.open().filter(loop=loop).values_list("key", "reason")
    assert set(held) == {
        (quarantine.key_of(key), type(error).__name__) for key, error in bad.items()
    }


def test_one_lease_that_cannot_be_ended_costs_no_other(
    claimed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = bad_ones(claimed)
    plant(monkeypatch, claimed_rows, "_update", bad)
    sweep.sweep()
    assert states(claimed, bad) == {Status.SCHEDULED}
    for _ in range(2):
        rested()
        sweep.sweep()
    assert_quarantined("leases", bad)
    rested()
    assert claims.expired(100) == []


def test_one_lease_whose_row_cannot_be_read_is_ended(claimed: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_notification SET expires_at = 'infinity' WHERE id = %s",
            [dialect.write(claimed[7])],
        )
    sweep.sweep()
    assert states(claimed, claimed[7:8]) == {Status.SCHEDULED}
    assert FailedDelivery.objects.get().reason == "unreadable"


def test_one_follower_that_cannot_be_called_costs_no_other(
    sent: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = sent()
    link = {"task": "celery.ping", "args": [], "kwargs": {}, "options": {}, "immutable": True}
    ended = clock.now() - timedelta(hours=1)
    rows = Notification.objects.filter(id__in=ids)
    rows.update(continuation={"link": [link]}, finished_at=ended)
    bad = bad_ones(ids)
    plant(monkeypatch, followers, "_request", bad)
    for _ in range(3):
        sweep.sweep()
        rested()
    left = rows.filter(continuation__isnull=False).values_list("id", flat=True)
    assert set(left) == set(bad)
    assert_quarantined("followers", bad)


def test_one_status_callback_that_cannot_be_made_costs_no_other(
    sent: Callable[..., Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True
    ids = sent(callback_url="http://127.0.0.1:9/status")
    bad = bad_ones(ids)
    plant(monkeypatch, outbound, "_callback", bad)
    for _ in range(3):
        outbound.tick()
        rested()
    assert Notification.objects.filter(channel="callback").count() == COUNT - len(bad)
    assert_quarantined("status_callbacks", bad)


def test_one_early_receipt_that_cannot_be_applied_costs_no_other(
    sent: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = sent()
    past = clock.now() - timedelta(seconds=1)
    PendingReceipt.objects.bulk_create(
        PendingReceipt(
            account="simulator",
            channel="simulator",
            event="delivered",
            provider_message_id=f"simulated-{id_}",
            due_at=past,
        )
        for id_ in ids
    )
    provider = Notification.objects.filter(id=ids[0]).values_list("provider", flat=True).get()
    PendingReceipt.objects.update(account=provider)
    bad = bad_ones(ids)
    plant(monkeypatch, outcomes, "confirm_delivered", bad)
    for _ in range(3):
        receipts.tick()
        rested()
    assert states(ids, bad) == {Status.DELIVERED}
    kept = {r.provider_message_id: r.pk for r in PendingReceipt.objects.all()}
    assert_quarantined("receipts", {kept[f"simulated-{id_}"]: bad[id_] for id_ in bad})


def test_one_receipt_of_many_that_faults_is_kept_and_tried_again(
    sent: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = sent()
    provider = Notification.objects.filter(id=ids[0]).values_list("provider", flat=True).get()
    told = [Receipt("delivered", provider_message_id=f"simulated-{id_}") for id_ in ids]
    bad = bad_ones(ids)
    with monkeypatch.context() as patch:
        plant(patch, outcomes, "confirm_delivered", bad)
        receipts.take(told, account=provider, channel="simulator")
    assert states(ids, bad) == {Status.DELIVERED}
    PendingReceipt.objects.update(due_at=clock.now())
    receipts.tick()
    assert states(ids) == {Status.DELIVERED}


@pytest.mark.parametrize("archived", [0, 3], ids=["deleted", "archived"])
def test_one_row_that_cannot_leave_keeps_no_other(
    sent: Callable[..., Any],
    set_: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    archived: int,
) -> None:
    set_("ARCHIVE_MONTHS", archived)
    ids = sent()
    ended = clock.now() - timedelta(days=40)
    Notification.objects.update(finished_at=ended)
    bad = bad_ones(ids)
    plant(monkeypatch, retention, "_forget", bad)
    for _ in range(3):
        retention.prune()
        rested()
    assert set(Notification.objects.values_list("id", flat=True)) == set(bad)
    assert_quarantined("retention", bad)


def test_one_row_of_many_that_cannot_be_accepted_costs_no_other(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = bad_ones([f"p{number}" for number in range(COUNT)])

    def clean(recipient: str) -> Any:
        if recipient in bad:
            raise bad[recipient]
        return recipient

    channel = replace(CHANNELS["simulator"], clean_recipient=clean)
    monkeypatch.setitem(CHANNELS, "simulator", channel)
    each = [{"recipient": f"p{number}"} for number in range(COUNT)]
    submitted = submission.send_many(each, channel="simulator", body="Hello")
    refused = {f"p{index}" for index in submitted.errors}
    assert (submitted.accepted, refused) == (COUNT - len(bad), set(bad))


def dead_letters(ids: Any, fingerprint: Callable[[int], str]) -> list[FailedDelivery]:
    """Have notifications failed, each of the cause that its number gives."""
    Notification.objects.update(status=Status.FAILED)
    return FailedDelivery.objects.bulk_create(
        FailedDelivery(
            notification_id=id_,
            channel="simulator",
            priority="medium",
            reason="rejected",
            error_class="permanent",
            fingerprint=fingerprint(number),
            created_at=clock.now(),
        )
        for number, id_ in enumerate(ids)
    )


def test_one_dead_letter_that_cannot_be_read_costs_no_other(sent: Callable[..., Any]) -> None:
    ids = sent(metadata={})
    dead_letters(ids, lambda _: "f")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_notification SET context = %s WHERE id = %s",
            ['{"n": ' + "9" * 5000 + "}", dialect.write(ids[7])],
        )
    order = bulk_replays.order("f", 1000.0)
    bulk_replays.tick()
    order.refresh_from_db()
    assert (order.accepted, order.finished_at is not None) == (COUNT - 1, True)
    assert list(order.refused.values()) == [1]


def test_one_dead_letter_that_faults_a_replay_costs_no_other(
    sent: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = dead_letters(sent(), lambda _: "f")
    bad = bad_ones([letter.pk for letter in letters])
    plant(monkeypatch, replays.Letter, "fields", bad)
    order = bulk_replays.order("f", 1000.0)
    bulk_replays.tick()
    order.refresh_from_db()
    assert (order.accepted, order.finished_at is not None) == (COUNT - len(bad), True)
    assert sum(order.refused.values()) == len(bad)
    for error in bad.values():
        assert any(type(error).__name__ in reason for reason in order.refused)
    left = FailedDelivery.objects.filter(state=FailedDelivery.State.OPEN)
    assert set(left.values_list("pk", flat=True)) == set(bad)


def test_one_order_of_replays_that_cannot_be_read_holds_up_no_other(
    sent: Callable[..., Any],
) -> None:
    dead_letters(sent(), lambda number: str(number % 2))
    bad, good = bulk_replays.order("0", 1000.0), bulk_replays.order("1", 1000.0)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_bulkreplay SET refused = %s WHERE id = %s",
            ['{"n": ' + "9" * 5000 + "}", bad.pk],
        )
    for _ in range(4):
        bulk_replays.tick()
        rested()
    good.refresh_from_db()
    assert (good.accepted, good.finished_at is not None) == (COUNT // 2, True)
    assert_quarantined("bulk_replays", {bad.pk: ValueError()})
    assert bulk_replays.tick() == bulk_replays.IDLE


def test_a_part_of_the_sweep_that_raises_stops_no_other(
    rows: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    messages_on_the_broker: Callable[..., list[dict[str, Any]]],
) -> None:
    rows()

    def broken() -> Never:
        raise ValueError

    monkeypatch.setattr(sweep, "_leases", isolation.Part("leases", broken, 0))
    sweep.sweep()
    assert messages_on_the_broker("simulator.medium")


def test_one_process_whose_counts_cannot_be_read_leaves_those_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("web-0", "worker-0"):
        (tmp_path / name).mkdir()
    (tmp_path / "worker-0" / "counter_1.db").write_bytes(b"\xff" * 8)
    file: Any = MmapedDict
    counted = file(str(tmp_path / "web-0" / "counter_1.db"))
    key = mmap_key("notifications_sweeps", "notifications_sweeps_total", [], [], "Sweeps")
    counted.write_value(key, 7.0, 0.0)
    counted.close()
    monkeypatch.setattr(process_folders, "alive", lambda: sorted(tmp_path.iterdir(), reverse=True))
    shown = exposition.exposed(with_state=False).decode()
    assert 'notifications_sweeps_total{process="web-0"} 7.0' in shown
    assert "worker-0" not in shown
