"""Notifications get their places in the periods of a throttle, as they are written.

The row that counts what a recipient has had is locked until the notification is committed, so a
place is given once; one that is rolled back gives its place back. The steps of a run of a chain to
one recipient have one place together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from notifications.core.reasons import Reason
from notifications.core.throttles import Place, Rest, Terms, Use, current, take, until
from notifications.db import clock, dialect
from notifications.models import WAITING, Notification, Status, ThrottleUse
from notifications.recipients.throttles import Limit, Limits
from notifications.submission import digests, insert
from notifications.submission.digests import Collected, Joining
from notifications.transitions import new

_TABLE = ThrottleUse._meta.db_table
_COLUMNS = ("status", "due_at", "scheduled_at", "finished_at", "reason", "throttle")


@dataclass(slots=True)
class Throttled:
    """A notification that throttles count.

    ``timezone`` is where its recipient is; ``digests`` are what it may go with, by throttle, and
    ``collected`` the one that it does go with. ``alone`` is what its row has without throttles.
    """

    limits: Limits
    timezone: str
    row: insert.Row
    copies: list[insert.Row]
    digests: Mapping[int, Collected]
    collected: Collected | None = None
    alone: list[dict[str, Any]] = field(default_factory=list)

    @property
    def whoms(self) -> list["_Whom"]:
        """Return for whom each throttle counts it."""
        key = self.row["recipient_key"]
        address = "" if key else self.row["recipient"]
        return [_Whom(limit.id, key, address) for limit in self.limits]

    def terms(self, limit: Limit) -> Terms:
        """Return what a throttle says of it: what can go with no digest waits."""
        terms = limit.terms_in(self.timezone)
        can_wait_alone = limit.rest == Rest.DIGEST and limit.id not in self.digests
        return terms._replace(rest=Rest.WAIT) if can_wait_alone else terms


class _Whom(NamedTuple):
    throttle: int
    recipient_key: str
    recipient: str


class _Failed(NamedTuple):
    """A notification that failed: when it had its place, and whether it was a digest."""

    at: datetime
    is_digest: bool


def apply(throttled: Sequence[Throttled]) -> None:
    """Give each a place, in the current transaction: it goes now, waits, is dropped or collected.

    A replay has the places that its failed notification had, in the periods that are not over. One
    of a digest is not counted, as the digest was not. Safe to be repeated after a rollback, once
    each was ``reset``.
    """
    waiting = [item for item in throttled if item.row["status"] in WAITING]
    failed = _failed(item.row["replay_of_id"] for item in waiting)
    counted = [(item, failed.get(item.row["replay_of_id"])) for item in waiting]
    counted = [(item, before) for item, before in counted if not (before and before.is_digest)]
    if not counted:
        return
    now = clock.now()
    ids, uses = _locked((whom for item, _ in counted for whom in item.whoms), now)
    terms: dict[_Whom, Terms] = {}
    runs: dict[tuple[Any, ...], tuple[Throttled, Limit | None, Place]] = {}
    for item, before in counted:
        run = (item.row["chain_run"] or item.row["id"], *item.whoms)
        if run in runs:
            _follow(item, *runs[run], now)
            continue
        limits = dict(zip(item.whoms, item.limits, strict=True))
        terms |= {whom: item.terms(limit) for whom, limit in limits.items()}
        whoms = [whom for whom in limits if not _has_place(before, uses[whom], terms[whom], now)]
        taken, place = take([uses[w] for w in whoms], now, [terms[w] for w in whoms])
        held_by = None if place.held_by is None else limits[whoms[place.held_by]]
        runs[run] = (item, held_by, place)
        if held_by is None or _hold(item, held_by, place, now):
            begun = [_begun(use, item.row["created_at"], now) for use in taken]
            uses.update(zip(whoms, begun, strict=True))
    for whom, use in uses.items():
        last = until(use, limit=terms[whom].limit, period=terms[whom].period)
        rows = ThrottleUse.objects.filter(pk=ids[whom])
        rows.update(since=use.since, used=use.used, passed=use.passed, until=last)


def _begun(use: Use, accepted_at: datetime, now: datetime) -> Use:
    """Have a period that begins now begin with the acceptance of its first, a moment ago.

    So a replay of the first finds it in its period, too.
    """
    return use._replace(since=accepted_at) if use.since == now else use


def _failed(ids: Iterable[UUID | None]) -> dict[UUID | None, _Failed]:
    """Read those of these notifications that failed."""
    wanted = {id_ for id_ in ids if id_}
    if not wanted:
        return {}
    rows = Notification.objects.filter(pk__in=wanted, status=Status.FAILED)
    columns = ("id", "created_at", "scheduled_at", "throttle", "digest_id")
    return {
        id_: _Failed(scheduled_at if throttle else created_at, digest is not None)
        for id_, created_at, scheduled_at, throttle, digest in rows.values_list(*columns)
    }


def _has_place(before: _Failed | None, use: Use, terms: Terms, now: datetime) -> bool:
    """Return whether what failed before has a place in the period that it is now."""
    if before is None:
        return False
    return current(use, now, limit=terms.limit, period=terms.period).since <= before.at


def _locked(whoms: Iterable[_Whom], now: datetime) -> tuple[dict[_Whom, int], dict[_Whom, Use]]:
    """Lock what counts these, in one order, so that two never wait for each other.

    Return the ids of the rows, and the uses that they hold.
    """
    wanted = sorted(set(whoms))
    values: list[Any] = []
    for whom in wanted:
        values += [*whom, now, now]
    marks = ", ".join(["(%s, %s, %s, %s, %s, 0)"] * len(wanted))
    rows = dialect.all_of(
        f"INSERT INTO {_TABLE} (throttle_id, recipient_key, recipient, since, until, used)"  # noqa: S608 -- our own words and placeholders
        f" VALUES {marks} ON CONFLICT (throttle_id, recipient_key, recipient)"
        " DO UPDATE SET throttle_id = EXCLUDED.throttle_id"
        " RETURNING throttle_id, recipient_key, recipient, id, since, used, passed",
        dialect.write_all(values),
    )
    ids = {_Whom(*whom): id_ for *whom, id_, _, _, _ in rows}
    uses = {
        _Whom(*whom): Use(dialect.read_time(since) or now, used, passed)
        for *whom, _, since, used, passed in rows
    }
    return ids, uses


def reset(item: Throttled) -> None:
    """Undo what was written before a rollback; what was suppressed meanwhile stays so."""
    if item.collected is not None:
        digests.reset(Joining(item.row, item.copies, item.collected))
        item.collected = None
    rows = [item.row, *item.copies]
    if not item.alone:
        item.alone = [{name: row[name] for name in _COLUMNS} for row in rows]
        return
    for row, alone in zip(rows, item.alone, strict=False):
        if row["throttle"]:
            row.update(alone)


def _follow(
    item: Throttled, first: Throttled, held_by: Limit | None, place: Place, now: datetime
) -> None:
    """Have a step of a chain share the place of the first one to this recipient: it has its turn.

    Where the first one is not sent, none is: a run is one message.
    """
    if held_by is not None and first.row["status"] not in WAITING:
        _hold(item, held_by, place, now)


def _hold(item: Throttled, limit: Limit, place: Place, now: datetime) -> bool:
    """Have one wait, join a digest, or end; return whether it is still to be sent."""
    rows = [item.row, *item.copies]
    collected = item.digests.get(limit.id)
    if collected is not None and place.due_at:
        for row in rows:
            row["throttle"] = str(limit)
        window = max((place.due_at - now).total_seconds(), 1.0)
        collected.spec = collected.spec._replace(window=window)
        item.collected = collected
        digests.reset(Joining(item.row, item.copies, collected))
        return True
    for row in rows:
        _hold_row(row, limit, place.due_at)
    return item.row["status"] in WAITING


def _hold_row(row: insert.Row, limit: Limit, due_at: datetime | None) -> None:
    """Have a row wait or end, unless its own time, or its delivery window, holds it longer."""
    waits = due_at is not None and limit.rest != Rest.DROP
    if waits and due_at <= row["scheduled_at"]:
        return
    row["throttle"] = str(limit)
    if due_at is None or not waits:
        new.end(row, Status.SUPPRESSED, Reason.THROTTLED)
    elif row["expires_at"] is not None and row["expires_at"] <= due_at:
        new.end(row, Status.EXPIRED, Reason.THROTTLED)
    else:
        new.wait(row, due_at, Reason.THROTTLED)
