"""Notifications get their places in the periods of a throttle, as they are written.

The row that counts what a recipient has had is locked until the notification is committed, so a
place is given once; one that is rolled back gives its place back. The steps of a run of a chain to
one recipient have one place together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from notifications.core.reasons import Reason
from notifications.core.throttles import Place, Rest, Terms, Use, take, until
from notifications.db import clock, dialect
from notifications.models import WAITING, Status, ThrottleUse
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


class _Whom(NamedTuple):
    throttle: int
    recipient_key: str
    recipient: str


def apply(throttled: Sequence[Throttled]) -> None:
    """Give each a place, in the current transaction: it goes now, waits, is dropped or collected.

    Safe to be repeated after a rollback, once each was ``reset``.
    """
    counted = [one for one in throttled if one.row["status"] in WAITING]
    if not counted:
        return
    now = clock.now()
    ids, uses = _locked((whom for one in counted for whom in one.whoms), now)
    terms: dict[_Whom, Terms] = {}
    runs: dict[tuple[Any, ...], tuple[Throttled, Place]] = {}
    for one in counted:
        whoms = one.whoms
        run = (one.row["chain_run"] or one.row["id"], *whoms)
        if run in runs:
            _follow(one, *runs[run], now)
            continue
        for whom, limit in zip(whoms, one.limits, strict=True):
            terms.setdefault(whom, limit.terms_in(one.timezone))
        taken, place = take([uses[w] for w in whoms], now, [terms[w] for w in whoms])
        runs[run] = (one, place)
        if place.held_by is None or _hold(one, one.limits[place.held_by], place, now):
            uses.update(zip(whoms, taken, strict=True))
    for whom, use in uses.items():
        last = until(use, limit=terms[whom].limit, period=terms[whom].period)
        rows = ThrottleUse.objects.filter(pk=ids[whom])
        rows.update(since=use.since, used=use.used, until=last)


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
        " RETURNING throttle_id, recipient_key, recipient, id, since, used",
        dialect.write_all(values),
    )
    ids = {_Whom(*whom): id_ for *whom, id_, _, _ in rows}
    uses = {
        _Whom(*whom): Use(dialect.read_time(since) or now, used) for *whom, _, since, used in rows
    }
    return ids, uses


def reset(one: Throttled) -> None:
    """Undo what was written before a rollback; what was suppressed meanwhile stays so."""
    if one.collected is not None:
        digests.reset(Joining(one.row, one.copies, one.collected))
        one.collected = None
    rows = [one.row, *one.copies]
    if not one.alone:
        one.alone = [{name: row[name] for name in _COLUMNS} for row in rows]
    elif one.row["throttle"]:
        for row, alone in zip(rows, one.alone, strict=False):
            row.update(alone)


def _follow(one: Throttled, first: Throttled, place: Place, now: datetime) -> None:
    """Have a step of a chain share the place of the first one to this recipient: it has its turn.

    Where the first one is not sent, none is: a run is one message.
    """
    if place.held_by is not None and first.row["status"] not in WAITING:
        _hold(one, one.limits[place.held_by], place, now)


def _hold(one: Throttled, limit: Limit, place: Place, now: datetime) -> bool:
    """Have one wait, join a digest, or end; return whether it is still to be sent."""
    rows = [one.row, *one.copies]
    for row in rows:
        row["throttle"] = str(limit)
    collected = one.digests.get(limit.id)
    if collected is not None and place.due_at:
        window = max((place.due_at - now).total_seconds(), 1.0)
        collected.spec = collected.spec._replace(window=window)
        one.collected = collected
        digests.reset(Joining(one.row, one.copies, collected))
        return True
    for row in rows:
        _hold_row(row, place.due_at, drops=limit.rest == Rest.DROP)
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
