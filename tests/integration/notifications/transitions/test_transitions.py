"""Each change of a status and due time, tried on rows of each status: the table says which may."""

import inspect
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from django.db import connection

from notifications.core.attempt import Claim
from notifications.db import clock
from notifications.delivery import claims
from notifications.models import UNFINISHED, WAITING, Notification, Status
from notifications.submission import insert, send
from notifications.transitions import claimed, finished, new, table, waiting
from notifications.transitions.claimed import Settlement
from notifications.transitions.table import ImpossibleTransition

MINUTE = timedelta(minutes=1)
SIMULATED: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}

Change = Callable[[Notification, Claim, datetime], object]


def settle(status: Status, due_at: datetime | None, claim: Claim, now: datetime) -> object:
    settlement = Settlement(status, due_at, "said so", "account", 0, 0, None)
    return claimed.settle({settlement: [claim]}, now, forget_content=False)


def claiming(row: Notification, _: Claim, now: datetime) -> None:
    of_row = connection.ops.adapt_datetimefield_value(now)
    condition = "reference = %s AND (status = 'queued' OR status = 'scheduled' AND due_at <= %s)"
    sql, values = waiting.claiming(
        condition, [row.reference, of_row], until=now + MINUTE, returning="id"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        cursor.fetchall()


def rows(row: Notification) -> Any:
    return Notification.objects.filter(pk=row.pk)


# What each does, by the name of its function.
CHANGES: dict[str, list[Change]] = {
    "waiting.claiming": [claiming],
    "waiting.cancel": [lambda row, _, now: waiting.cancel(rows(row), "cancelled", now)],
    "waiting.park": [lambda row, _, __: waiting.park(rows(row), "held")],
    "waiting.release": [lambda row, _, now: waiting.release(rows(row), "held", now)],
    "waiting.make_due": [lambda row, _, now: waiting.make_due(rows(row), now)],
    "waiting.reschedule": [lambda row, _, now: waiting.reschedule(rows(row), now, "waits")],
    "waiting.accept_anew": [lambda row, _, now: waiting.accept_anew(rows(row), ["due_at"], now)],
    "claimed.settle": [
        lambda _, claim, now: settle(Status.SENT, None, claim, now),
        lambda _, claim, now: settle(Status.SCHEDULED, now + MINUTE, claim, now),
        lambda _, claim, now: settle(Status.FAILED, None, claim, now),
        lambda _, claim, now: settle(Status.EXPIRED, None, claim, now),
    ],
    "claimed.settle_plainly": [
        lambda _, claim, now: claimed.settle_plainly(claim, Status.SENT, "error", now),
        lambda _, claim, now: claimed.settle_plainly(claim, Status.FAILED, "error", now),
    ],
    "claimed.end": [
        lambda _, claim, now: claimed.end([claim], Status.EXPIRED, "expired", now),
        lambda _, claim, now: claimed.end([claim], Status.SUPPRESSED, "complaint", now),
        lambda _, claim, now: claimed.end([claim], Status.CANCELLED, "digest_empty", now),
    ],
    "claimed.end_unread": [lambda row, _, now: claimed.end_unread(row.pk, "unreadable", now)],
    "claimed.defer": [
        lambda _, claim, now: claimed.defer([(claim, now + MINUTE)], "waits", reschedules=False),
        lambda _, claim, now: claimed.defer([(claim, now + MINUTE)], "waits", reschedules=True),
    ],
    "claimed.shorten_leases": [
        lambda _, __, now: claimed.shorten_leases(now, beyond=now - timedelta(days=1))
    ],
    "finished.deliver": [lambda row, _, now: finished.deliver(row.pk, now)],
    "finished.fail": [lambda row, _, now: finished.fail(row.pk, "hard_bounce", now)],
    "finished.keep_followers": [lambda row, _, __: finished.keep_followers(row.pk, {"link": []})],
    "finished.call_followers_later": [
        lambda row, _, now: finished.call_followers_later(row.pk, now + MINUTE)
    ],
}
TRIED = [(name, change) for name, changes in CHANGES.items() for change in changes]


def functions(module: ModuleType) -> Iterator[str]:
    name = module.__name__.rpartition(".")[2]
    for function, value in vars(module).items():
        is_own = inspect.isfunction(value) and value.__module__ == module.__name__
        if is_own and not function.startswith("_"):
            yield f"{name}.{function}"


def test_every_change_of_rows_that_are_there_is_tried() -> None:
    assert {*functions(waiting), *functions(claimed), *functions(finished)} == set(CHANGES)


def a_row(status: Status) -> tuple[Notification, Claim]:
    """Make a row of a status, with the claim that its worker has or had, or has from elsewhere."""
    row = send(**SIMULATED, reference=f"of {status}")
    (claim,) = claims.claim([row.pk])
    columns: dict[str, Any] = {"status": status, "due_at": clock.now()}
    if status not in UNFINISHED:
        columns |= {"due_at": None, "finished_at": clock.now()}
    Notification.objects.filter(pk=row.pk).update(**columns)
    row.refresh_from_db()
    return row, claim


@pytest.mark.parametrize("before", list(Status))
@pytest.mark.django_db
def test_a_row_moves_only_as_the_table_says(before: Status) -> None:
    reached = set()
    for name, change in TRIED:
        row, claim = a_row(before)
        change(row, claim, clock.now())
        row.refresh_from_db()
        after = Status(row.status)
        assert after is before or after in table.NEXT[before], name
        reached.add(after)
        is_over = after not in UNFINISHED
        assert (row.finished_at is not None) is is_over, name
        if is_over and not name.startswith("finished."):
            assert row.due_at is None, name
        if name.startswith("waiting.") and before not in WAITING:
            assert after is before, name
        if name.startswith("claimed.") and before is not Status.SENDING:
            assert after is before, name
    assert table.NEXT[before] <= reached, "the table has a change that nothing makes"


@pytest.mark.django_db
def test_what_a_superseded_claim_writes_changes_nothing() -> None:
    row, claim = a_row(Status.SENDING)
    Notification.objects.filter(pk=row.pk).update(attempt_count=claim.attempt + 1)
    now = clock.now()
    assert settle(Status.SENT, None, claim, now) == set()
    assert claimed.end([claim], Status.EXPIRED, "expired", now) == set()
    assert not claimed.settle_plainly(claim, Status.FAILED, "error", now)
    claimed.defer([(claim, now)], "waits", reschedules=False)
    row.refresh_from_db()
    assert (row.status, row.attempt_count) == (Status.SENDING, claim.attempt + 1)


@pytest.mark.django_db
def test_what_was_parked_for_another_reason_stays_parked() -> None:
    row, _ = a_row(Status.QUEUED)
    assert waiting.park(rows(row), "held") == 1
    assert waiting.make_due(rows(row), clock.now()) == 0
    assert waiting.release(rows(row), "batch_paused", clock.now()) == 0
    row.refresh_from_db()
    assert (row.status, row.due_at, row.reason) == (Status.SCHEDULED, None, "held")
    assert waiting.release(rows(row), "held", clock.now()) == 1


@pytest.mark.parametrize("status", sorted(set(Status) - table.FIRST))
def test_a_row_cannot_be_accepted_in_a_status_that_only_a_later_change_gives(
    status: Status,
) -> None:
    with pytest.raises(ImpossibleTransition):
        new.end({"created_at": None}, status, "said so")


def test_a_row_that_ends_as_it_is_accepted_is_not_due(db: None) -> None:
    row = dict(insert.DEFAULTS, created_at=clock.now(), **new.beginning(None, clock.now()))
    new.wait(row, clock.now() + MINUTE, "window_closed")
    assert (row["status"], row["finished_at"]) == ("scheduled", None)
    new.end(row, Status.SUPPRESSED, "throttled")
    assert (row["status"], row["due_at"], row["reason"]) == ("suppressed", None, "throttled")
    assert row["finished_at"] == row["created_at"]
