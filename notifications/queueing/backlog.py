"""What waits in the database, per queue. Each look costs a few index probes, however much waits."""

from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from notifications.core import routing
from notifications.db import clock, dialect
from notifications.models import WAITING, Hold, Notification, Scope
from notifications.queueing import quarantine
from scheduling.lookout import Moment

_TABLE = Notification._meta.db_table
_HOLDS = Hold._meta.db_table
_OF_QUEUES = (Scope.EVERYTHING.value, Scope.CHANNEL.value, Scope.QUEUE.value)
_QUEUES = [(c, p) for c in routing.CHANNELS for p in routing.PRIORITIES]


_NAMED = ", ".join(f"('{channel}', '{priority}')" for channel, priority in _QUEUES)
FIRST_DUE = Moment(
    f"""WITH q(channel, priority) AS (VALUES {_NAMED})
    SELECT min((SELECT min(n.due_at) FROM {_TABLE} n
                WHERE n.channel = q.channel AND n.priority = q.priority)) FROM q"""  # noqa: S608 -- names of our own
)
"""When somebody must look at the first of all rows: a due one, a lease, a lost message."""


class Waiting(NamedTuple):
    """One queue's backlog: rows due now (counted up to a limit), and when the next falls due.

    Of a queue that is ``held`` nothing is due: nobody may take it. Rows in quarantine do not count.
    """

    channel: str
    priority: str
    due: int
    next_due_at: datetime | None
    held: bool = False


class Turn(NamedTuple):
    """Whether a queue is held, and whether rows of it are due; a new row waits for either."""

    held: bool
    behind: bool


def turn_of(channel: str, priority: str) -> Turn:
    """Return what a new row of this queue has to wait for, if anything.

    One statement, and none that the ORM writes: each process asks ten times a second while it
    accepts.
    """
    now = clock.now()
    passed, keys = quarantine.condition("n.id", quarantine.CLAIMS, now)
    sql = f"""
        SELECT EXISTS (
          SELECT 1 FROM {_HOLDS} h
          WHERE h.released_at IS NULL AND h.scope IN (%s, %s, %s) AND h.value IN (%s, %s, %s)
        ), EXISTS (
          SELECT 1 FROM {_TABLE} n
          WHERE n.channel = %s AND n.priority = %s
            AND n.due_at <= %s AND n.status IN (%s, %s) AND {passed}
        )
    """  # noqa: S608 -- tables' names and placeholders
    held = [*_OF_QUEUES, "", channel, routing.queue_for(channel, priority)]
    with connection.cursor() as cursor:
        cursor.execute(sql, [*held, channel, priority, dialect.write(now), *WAITING, *keys])
        return Turn(*map(bool, cursor.fetchone()))


def held_queues() -> set[str]:
    """Return the names of the queues that are held as a whole."""
    holds = Hold.objects.filter(released_at__isnull=True, scope__in=_OF_QUEUES)
    values = set(holds.values_list("value", flat=True))
    if not values:
        return values
    return {queue for queue in routing.QUEUE_NAMES if values & {"", queue.partition(".")[0], queue}}


def look(limit: int) -> list[Waiting]:
    """Look at every queue at once, counting at most ``limit`` due rows in each."""
    held = held_queues()
    free = [(c, p) for c, p in _QUEUES if routing.queue_for(c, p) not in held]
    by_queue = (
        {(waiting.channel, waiting.priority): waiting for waiting in _look(free, limit)}
        if free
        else {}
    )
    return [by_queue.get((c, p)) or Waiting(c, p, 0, None, held=True) for c, p in _QUEUES]


def due_but_held(limit: int) -> dict[tuple[str, str], int]:
    """Return how many rows would be due in the queues that are held as a whole, up to a limit."""
    held = held_queues()
    queues = [(c, p) for c, p in _QUEUES if routing.queue_for(c, p) in held]
    found = _look(queues, limit) if queues else []
    return {(waiting.channel, waiting.priority): waiting.due for waiting in found if waiting.due}


def _look(queues: list[tuple[str, str]], limit: int) -> list[Waiting]:
    # In order, so that Postgres walks the index and stops; else it may read the whole backlog.
    now = clock.now()
    moment = dialect.write(now)
    passed, keys = _not_passed_over(now)
    rows = ", ".join(["(%s, %s)"] * len(queues))
    sql = f"""
        WITH q(channel, priority) AS (VALUES {rows})
        SELECT q.channel, q.priority,
          (SELECT count(*) FROM (
             SELECT 1 FROM {_TABLE} n
             WHERE n.channel = q.channel AND n.priority = q.priority
               AND n.due_at <= %s AND n.status IN (%s, %s) AND {passed}
             ORDER BY n.due_at LIMIT %s) AS due),
          (SELECT min(n.due_at) FROM {_TABLE} n
             WHERE n.channel = q.channel AND n.priority = q.priority AND n.due_at > %s)
        FROM q
    """  # noqa: S608 -- a table's name and placeholders
    with connection.cursor() as cursor:
        names = [name for queue in queues for name in queue]
        cursor.execute(sql, [*names, moment, *WAITING, *keys, limit, moment])
        rows = cursor.fetchall()
    return [Waiting(c, p, due, dialect.read_time(next_due)) for c, p, due, next_due in rows]


def _not_passed_over(now: datetime) -> tuple[str, list[Any]]:
    """Return a condition that leaves out rows that no worker can claim, if there are any."""
    if not quarantine.passes_over_any(quarantine.CLAIMS):
        return "true", []
    return quarantine.condition("n.id", quarantine.CLAIMS, now)


def oldest(queues: list[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Return, for each queue with due rows, the age in seconds of the oldest."""
    held = held_queues()
    queues = [queue for queue in queues if routing.queue_for(*queue) not in held]
    if not queues:
        return {}
    now = clock.now()
    passed, keys = _not_passed_over(now)
    rows = ", ".join(["(%s, %s)"] * len(queues))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""WITH q(channel, priority) AS (VALUES {rows})
            SELECT q.channel, q.priority, (
              SELECT n.due_at FROM {_TABLE} n
              WHERE n.channel = q.channel AND n.priority = q.priority
                AND n.due_at <= %s AND n.status IN (%s, %s) AND {passed}
              ORDER BY n.due_at LIMIT 1)
            FROM q""",  # noqa: S608 -- a table's name and placeholders
            [*(word for queue in queues for word in queue), dialect.write(now), *WAITING, *keys],
        )
        found = [(c, p, dialect.read_time(due)) for c, p, due in cursor.fetchall()]
    return {(c, p): (now - due).total_seconds() for c, p, due in found if due is not None}
