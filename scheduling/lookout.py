"""One look at the database for all ticks that wait for something to do.

Most ticks find nothing to do most of the time. Each says by ``Rows`` or ``Moment`` where its work
shows, and one statement asks for all of them, instead of some statements from each.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from scheduling import outages

logger = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two looks."""
TRUSTED = 3.0
"""Seconds; a look that is older says nothing any more: every tick then looks for itself."""
MANY = 500
"""Rows that are counted at most."""
# A table that somebody holds must not keep the ticks of all others waiting.
_LIMITS = "SET LOCAL lock_timeout = '0.2s'; SET LOCAL statement_timeout = '1s'; "


@dataclass(frozen=True)
class Rows:
    """There is work while there is such a row; they are to be found by an index, in its order.

    For EXISTS, Postgres expects the first row soon where its figures tell of many, and reads the
    whole table where there is none. It takes the index to find some hundreds in order.
    """

    rows: "QuerySet[Any]"

    def sql(self) -> tuple[str, Sequence[Any]]:
        """Return a scalar of SQL, and its parameters."""
        query = self.rows.values("pk")[:MANY].query
        sql, parameters = query.get_compiler(connection=connection).as_sql()
        return f"(SELECT count(*) FROM ({sql}) AS found)", parameters  # noqa: S608 -- of the ORM


@dataclass(frozen=True)
class Moment:
    """There is work once a moment has come, which a scalar of SQL returns; NULL: there is none."""

    text: str

    def sql(self) -> tuple[str, Sequence[Any]]:
        """Return a scalar of SQL, and its parameters."""
        return f"({self.text})", ()


Work = Rows | Moment


class Lookout:
    """Looks for the work of several ticks, and wakes each whose work is due before the next look.

    ``tick`` is to be called again and again, in a thread of its own.
    """

    def __init__(self) -> None:
        self._woken_by: dict[Work, list[Event]] = {}
        self._statement: tuple[str, list[Any]] | None = None
        self._trusted_until = 0.0

    def wake(self, event: Event, works: Iterable[Work]) -> None:
        """Set ``event`` from now on whenever one of these works is there."""
        for work in works:
            self._woken_by.setdefault(work, []).append(event)
        self._statement = None

    @property
    def finds_any(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._woken_by)

    @property
    def is_trusted(self) -> bool:
        """Whether a look has answered a moment ago, so that who was not woken has no work."""
        return time.monotonic() < self._trusted_until

    def tick(self) -> float:
        """Look once; return the seconds until the next look. Raises ``django.db.Error``."""
        asked = time.monotonic()
        try:
            now, places = self._look()
        except Exception as error:
            # Each tick looks for itself, and meets in its own boundary what concerns it.
            was_trusted, self._trusted_until = self.is_trusted, 0.0
            self._wake(self._woken_by)
            if not _is_of_a_statement(error):
                raise
            if was_trusted:
                logger.info("A look for all ticks was given up: %s", type(error).__name__)
            return INTERVAL
        self._trusted_until = asked + TRUSTED
        self._wake(
            work for work, value in zip(self._woken_by, places, strict=True) if _is_due(value, now)
        )
        return INTERVAL

    def _wake(self, works: Iterable[Work]) -> None:
        for work in works:
            for event in self._woken_by[work]:
                event.set()

    def _look(self) -> tuple[datetime, Sequence[Any]]:
        """Return the database's time, and what each work's scalar is."""
        is_postgres = connection.vendor == "postgresql"
        if self._statement is None:
            self._statement = self._compiled("clock_timestamp()" if is_postgres else "NULL")
        with connection.cursor() as cursor:
            cursor.execute(*self._statement)
            while is_postgres and cursor.nextset():
                pass  # the limits return nothing
            now, *places = cursor.fetchone()
        return now or timezone.now(), places

    def _compiled(self, now: str) -> tuple[str, list[Any]]:
        scalars = [now]
        parameters: list[Any] = []
        for work in self._woken_by:
            sql, values = work.sql()
            scalars.append(sql)
            parameters += values
        limits = _LIMITS if connection.vendor == "postgresql" else ""
        return f"{limits}SELECT {', '.join(scalars)}", parameters


def _is_of_a_statement(error: Exception) -> bool:
    """Return whether a look was given up that waited for a lock, or took long."""
    outage = outages.of(error)
    return outage is not None and outage.code in (outages.LOCKED, outages.STATEMENT_ENDED)


def _is_due(value: object, now: datetime) -> bool:
    """Return whether there is work before the next look."""
    if isinstance(value, str):  # SQLite keeps UTC text
        value = parse_datetime(value)
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (moment - now).total_seconds() < INTERVAL
    return bool(value)
