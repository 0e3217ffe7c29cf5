"""What there is to do, found in one statement whose cost does not grow with the schedules."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.db.models import Model
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from scheduling import passing_over
from scheduling.models import Change, Fire, Schedule
from scheduling.passing_over import CHANGES, CLAIM, RECOVERY

# Python cannot hold each moment that Postgres can, such as -infinity. The nearest that it can hold
# stands for one: the row is then found due, and whoever reads it finds the fault.
EARLIEST = """
  (SELECT CASE WHEN min({column}) < '2000-01-01 00:00:00+00:00' THEN '2000-01-01 00:00:00+00:00'
               WHEN min({column}) > '9000-01-01 00:00:00+00:00' THEN '9000-01-01 00:00:00+00:00'
               ELSE min({column}) END
   FROM {table} WHERE {column} IS NOT NULL{{but_{table}}})
"""
NEXT_FIRE = EARLIEST.format(column="next_fire_at", table="scheduling_schedule")
FIRE_DUE = EARLIEST.format(column="due_at", table="scheduling_fire")
QUERY = f"""
SELECT {{now}}, {NEXT_FIRE}, {FIRE_DUE},
  EXISTS (SELECT 1 FROM scheduling_change WHERE true{{but_scheduling_change}})
"""  # noqa: S608 -- constants
LOOPS = {CLAIM: Schedule, RECOVERY: Fire, CHANGES: Change}


@dataclass(frozen=True)
class Outlook:
    """When something is due next, by the database's clock ``now``."""

    now: datetime
    next_fire_at: datetime | None
    fire_due_at: datetime | None
    has_changes: bool

    def seconds_until_due(self) -> float:
        """Return the seconds until the next fire or forgotten fire; infinite if there is none."""
        moments = [moment for moment in (self.next_fire_at, self.fire_due_at) if moment]
        if not moments:
            return float("inf")
        return max((min(moments) - self.now).total_seconds(), 0.0)


def look() -> Outlook:
    """Look for changes, due schedules and forgotten fires."""
    is_postgres = connection.vendor == "postgresql"
    conditions, parameters = {}, []
    for loop, model in LOOPS.items():
        condition, keys = _without(loop, model)
        conditions[f"but_{model._meta.db_table}"] = condition
        parameters += keys
    now = "clock_timestamp()" if is_postgres else "NULL"
    with connection.cursor() as cursor:
        cursor.execute(QUERY.format(now=now, **conditions), parameters)
        now, next_fire_at, fire_due_at, has_changes = cursor.fetchone()
    return Outlook(
        now=now or timezone.now(),
        next_fire_at=_aware(next_fire_at),
        fire_due_at=_aware(fire_due_at),
        has_changes=bool(has_changes),
    )


def _without(loop: str, model: type[Model]) -> tuple[str, list[Any]]:
    """Return a condition that leaves out the rows that a loop passes over, and its parameters."""
    key = model._meta.pk
    keys = [key.get_db_prep_value(value, connection) for value in passing_over.keys(loop)]
    if not keys:
        return "", []
    return f" AND {key.column} NOT IN ({', '.join(['%s'] * len(keys))})", keys


def _aware(value: datetime | str | None) -> datetime | None:
    """Read a moment as the database gives it: SQLite keeps UTC text."""
    moment = parse_datetime(value) if isinstance(value, str) else value
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)
