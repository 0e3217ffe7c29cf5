"""Backfills: due times of the past that a job runs for after all. Pure."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from scheduling.job_schema import InvalidJob
from scheduling.timetable import Timetable

MOST = 1000
"""Due times of one backfill."""
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9990, 1, 1, tzinfo=UTC)
LONGEST_PACE = timedelta(days=1)
"""Between two runs of a backfill."""


def due_times(
    timetable: Timetable, since: datetime, until: datetime, now: datetime
) -> list[datetime]:
    """Return the due times in a range of the past, oldest first.

    Raises ``InvalidJob`` for a range that is none, or that has more than ``MOST``.
    """
    for field, moment in (("since", since), ("until", until)):
        if moment.tzinfo is None:
            raise InvalidJob("It has no UTC offset.", field=field)
        if not EARLIEST < moment < LATEST:
            raise InvalidJob("It is out of the calendar's range.", field=field)
    if since >= until:
        raise InvalidJob("The range must end after it begins.", field="until")
    if until > now:
        raise InvalidJob(
            "The range must lie in the past: what is due later fires by itself.", field="until"
        )
    dues = timetable.between(since.astimezone(UTC), until.astimezone(UTC), MOST + 1)
    if len(dues) > MOST:
        raise InvalidJob(f"The range has more than {MOST} due times.", field="since")
    return dues


def at_a_pace(
    dues: Sequence[datetime], known: Collection[datetime], now: datetime, pace: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    """Return each due time that has no fire yet, with the moment at which it is run.

    Raises ``InvalidJob`` for a pace below zero, or above a day.
    """
    if not timedelta(0) <= pace <= LONGEST_PACE:
        raise InvalidJob("It must be from 0 seconds to a day.", field="pace")
    missing = [due for due in dues if due not in known]
    return ((due, now + number * pace) for number, due in enumerate(missing))
