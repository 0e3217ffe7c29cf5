"""Who waits to be sent, since when they were meant to be, and for what.

A row's due time moves on with each retry and each wait for an account, so it says nothing of how
long somebody has waited. That is counted from ``scheduled_at``, the first due time.
"""

from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Count, F, Min

from notifications.core import routing
from notifications.core.reasons import Reason
from notifications.db import clock, dialect
from notifications.models import WAITING, Notification, Status
from notifications.providers import accounts

Queue = tuple[str, str]

_MINE = (
    f"FROM {Notification._meta.db_table} n WHERE n.channel = q.channel AND n.priority = q.priority"
)
# Word for word the condition of the index notification_deferred.
_DEFERRED = (
    f"{_MINE} AND n.status = 'scheduled' AND n.due_at > n.scheduled_at ORDER BY n.scheduled_at"
)

# What an account, an endpoint or a limit makes a row wait for.
BLOCKED = (
    *(Reason.NO_PROVIDER, Reason.ACCOUNT_HELD),
    *(Reason.RATE_LIMITED, Reason.ENDPOINT_BACKOFF, Reason.RECEIVER_RESTS),
)


class Waiting(NamedTuple):
    """One queue's rows that were due at least once and that no worker has taken.

    ``retrying`` wait for their next attempt, ``blocked`` for an account, an endpoint or a limit;
    both are counted up to a limit, those that wait longest first. ``since`` is the
    earliest of the times at which any of the queue's rows was first due.
    """

    channel: str
    priority: str
    retrying: int
    blocked: int
    since: datetime | None

    def age(self, now: datetime) -> float:
        """Return the seconds for which the one that waits longest has waited."""
        return max((now - self.since).total_seconds(), 0.0) if self.since else 0.0


class Stranded(NamedTuple):
    """What waits for the account that it names, which is disabled; counted up to a limit."""

    account: str
    channel: str
    rows: int
    since: datetime

    def __str__(self) -> str:
        """Say it in a sentence."""
        wait = (
            "notification that names it waits"
            if self.rows == 1
            else ("notifications that name it wait")
        )
        return f"The account {self.account} ({self.channel}) is disabled: {self.rows} {wait}."


def stranded(limit: int) -> list[Stranded]:
    """Return what waits for disabled accounts, of the rows of each queue that wait longest.

    Looks at ``limit`` rows of a queue, and at none where no account is disabled. Raises
    ``django.db.Error``.
    """
    by_channel: dict[str, list[str]] = {}
    for account in accounts.disabled():
        by_channel.setdefault(account.channel, []).append(account.name)
    found = []
    for channel, names in by_channel.items():
        counts: dict[str, tuple[int, datetime]] = {}
        for priority in routing.PRIORITIES:
            longest = Notification.objects.filter(
                channel=channel,
                priority=priority,
                status=Status.SCHEDULED,
                due_at__gt=F("scheduled_at"),
            ).order_by("scheduled_at")[:limit]
            rows = Notification.objects.filter(
                pk__in=longest.values("pk"), account__in=names, reason=Reason.NO_PROVIDER
            )
            told = rows.order_by().values_list("account").annotate(Count("pk"), Min("scheduled_at"))
            for name, count, since in told:
                before = counts.get(name, (0, since))
                counts[name] = (before[0] + count, min(before[1], since))
        found += [Stranded(name, channel, *counts[name]) for name in sorted(counts)]
    return found


def look(limit: int) -> list[Waiting]:
    """Look at every queue at once, counting at most ``limit`` rows of each kind.

    Costs index probes and the rows that are counted, however much is due or planned.
    Raises ``django.db.Error``.
    """
    now = clock.now()
    queues = [(c, p) for c in routing.CHANNELS for p in routing.PRIORITIES]
    firsts = {
        (channel, priority): (dialect.read_time(deferred), dialect.read_time(due))
        for channel, priority, deferred, due in _ask(
            queues,
            f"""(SELECT n.scheduled_at {_DEFERRED} LIMIT 1),
            (SELECT n.scheduled_at {_MINE} AND n.due_at <= %s AND n.status IN (%s, %s)
             ORDER BY n.due_at LIMIT 1)""",
            [now, *WAITING],
        )
    }
    counts = _count([queue for queue in queues if firsts[queue][0]], now, limit)
    return [
        Waiting(*queue, *counts.get(queue, (0, 0)), min(filter(None, firsts[queue]), default=None))
        for queue in queues
    ]


def _count(queues: list[Queue], now: datetime, limit: int) -> dict[Queue, tuple[int, int]]:
    """Count retried and blocked rows, of queues that have any."""
    if not queues:
        return {}
    marks = dialect.marks(len(BLOCKED))
    longest = f"(SELECT n.due_at, n.reason {_DEFERRED} LIMIT %s) AS longest"
    counts = f"""
        (SELECT count(*) FROM {longest} WHERE due_at > %s AND reason NOT IN ({marks})),
        (SELECT count(*) FROM {longest} WHERE due_at > %s AND reason IN ({marks}))
    """  # noqa: S608 -- our own words and placeholders
    found = _ask(queues, counts, [limit, now, *BLOCKED] * 2)
    return {
        (channel, priority): (retrying, blocked) for channel, priority, retrying, blocked in found
    }


def _ask(queues: list[Queue], columns: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    """Ask for these columns of each queue ``q``."""
    rows = ", ".join(["(%s, %s)"] * len(queues))
    values = [*(word for queue in queues for word in queue), *map(dialect.write, parameters)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH q(channel, priority) AS (VALUES {rows})"  # noqa: S608 -- our own words and placeholders
            f" SELECT q.channel, q.priority, {columns} FROM q",
            values,
        )
        return list(cursor.fetchall())
