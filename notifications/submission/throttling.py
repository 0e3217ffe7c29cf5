"""Notifications get their places in the periods of a throttle, as they are written.

The row that counts what a recipient has had is locked until the notification is committed, so a
place is given once; one that is rolled back gives its place back.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from notifications.core.reasons import Reason
from notifications.core.throttles import Period, Place, Rest, Use, take, until
from notifications.db import clock, dialect
from notifications.models import WAITING, Status, ThrottleUse
from notifications.recipients.throttles import Limit
from notifications.submission import insert
from notifications.submission.digests import Collected
from notifications.transitions import new

_TABLE = ThrottleUse._meta.db_table
_COLUMNS = ("status", "due_at", "scheduled_at", "finished_at", "reason")


@dataclass(slots=True)
class Throttled:
    """A notification that a throttle counts; ``collected`` has the digest that it may go with.

    ``timezone`` is where its recipient is; ``alone`` is what its row has without the throttle.
    """

    limit: Limit
    timezone: str
    row: insert.Row
    copies: list[insert.Row]
    collected: Collected | None = None
    alone: list[dict[str, Any]] = field(default_factory=list)


class _Figures(TypedDict):
    limit: int
    period: Period


class _Whom(NamedTuple):
    throttle: int
    recipient_key: str
    recipient: str


def apply(throttled: Sequence[Throttled]) -> None:
    """Give each a place, in the current transaction: it goes now, waits, is dropped or collected.

    Safe to be repeated after a rollback, once each was ``reset``.
    """
    groups: dict[_Whom, list[Throttled]] = defaultdict(list)
    for one in throttled:
        if one.row["status"] in WAITING:
            key = one.row["recipient_key"]
            whom = _Whom(one.limit.id, key, "" if key else one.row["recipient"])
            groups[whom].append(one)
    if not groups:
        return
    now = clock.now()
    for whom, (id_, before) in _locked(groups, now).items():
        some = groups[whom]
        limit = some[0].limit
        figures: _Figures = {"limit": limit.limit, "period": limit.period_in(some[0].timezone)}
        use = before
        for one in some:
            taken, (place,) = take(use, now, 1, **figures, rest=limit.rest)
            if place.is_free or _hold(one, place, now):
                use = taken
        ThrottleUse.objects.filter(pk=id_).update(
            since=use.since, used=use.used, until=until(use, **figures)
        )


def _locked(groups: dict[_Whom, list[Throttled]], now: datetime) -> dict[_Whom, tuple[int, Use]]:
    """Lock what counts these recipients, in one order, so that two never wait for each other."""
    values: list[Any] = []
    for whom in sorted(groups):
        values += [*whom, now, now]
    marks = ", ".join(["(%s, %s, %s, %s, %s, 0)"] * len(groups))
    rows = dialect.all_of(
        f"INSERT INTO {_TABLE} (throttle_id, recipient_key, recipient, since, until, used)"  # noqa: S608 -- our own words and placeholders
        f" VALUES {marks} ON CONFLICT (throttle_id, recipient_key, recipient)"
        " DO UPDATE SET throttle_id = EXCLUDED.throttle_id"
        " RETURNING throttle_id, recipient_key, recipient, id, since, used",
        dialect.write_all(values),
    )
    return {
        _Whom(throttle, key, recipient): (id_, Use(dialect.read_time(since) or now, used))
        for throttle, key, recipient, id_, since, used in rows
    }


def reset(one: Throttled) -> None:
    """Undo what was written before a rollback; what was suppressed meanwhile stays so."""
    rows = [one.row, *one.copies]
    if not one.alone:
        one.alone = [{name: row[name] for name in _COLUMNS} for row in rows]
        return
    if one.row["reason"] == Reason.THROTTLED:
        for row, alone in zip(rows, one.alone, strict=False):
            row.update(alone)
    if one.collected is not None:
        one.collected.is_wanted = False


def _hold(one: Throttled, place: Place, now: datetime) -> bool:
    """Have one wait, join a digest, or end; return whether it is still to be sent."""
    if one.limit.rest == Rest.DIGEST and one.collected is not None and place.due_at:
        window = max((place.due_at - now).total_seconds(), 1.0)
        one.collected.spec = one.collected.spec._replace(window=window)
        one.collected.is_wanted = True
        return True
    for row in (one.row, *one.copies):
        _hold_row(row, place.due_at, drops=one.limit.rest == Rest.DROP)
    return one.row["status"] in WAITING


def _hold_row(row: insert.Row, due_at: datetime | None, *, drops: bool) -> None:
    if drops or due_at is None:
        new.end(row, Status.SUPPRESSED, Reason.THROTTLED)
        return
    due_at = max(due_at, row["scheduled_at"])
    if row["expires_at"] is not None and row["expires_at"] <= due_at:
        new.end(row, Status.EXPIRED, Reason.THROTTLED)
        return
    new.wait(row, due_at, Reason.THROTTLED)
