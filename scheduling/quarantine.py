"""A row's fault ends that row: it is found among the others, and its schedule is quarantined.

``isolated`` is for work on many rows in one transaction: reading them is a part of it, and what
fails is narrowed down to the row at fault. What is not a row's fault ``scheduling.isolation`` says.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from scheduling import isolation, ledger, passing_over, transactions
from scheduling.clock import database_now
from scheduling.models import Fire, Schedule
from scheduling.run_errors import reason_of

logger = logging.getLogger(__name__)

Key = TypeVar("Key")
Result = TypeVar("Result")


def isolated(
    take: Callable[[Sequence[Key] | None], Sequence[Key]],
    work: Callable[[Sequence[Key]], list[Result]],
    blame: Callable[[Key, Exception], None],
    *,
    stage: str,
) -> list[Result]:
    """Work on a batch of rows in a brief transaction; return what the work returned.

    ``take(None)`` locks the rows of a batch and returns their keys, ``take(keys)`` those among
    ``keys`` that are still to be worked on. If the work raises, it is rolled back and done again
    by halves, until the row at fault is alone: ``blame(key, error)`` writes its outcome. A row
    that takes no write at all is passed over for a while. Raises what concerns everybody, and
    what ``take(None)`` raises.
    """
    keys: Sequence[Key] = ()
    try:
        with transactions.brief():
            keys = passing_over.without(take(None), stage)
            return work(keys) if keys else []
    except Exception as error:
        if not keys or isolation.concerns_everybody(error):
            raise
    results: list[Result] = []
    errors: dict[Key, Exception] = {}

    def do(part: list[Key]) -> None:
        try:
            with transactions.brief():
                part_results = work(take(part))
        except Exception as error:
            errors[part[0]] = error
            raise
        results.extend(part_results)

    for key, _ in isolation.halving(keys, do, stage=stage, key=str):
        _end(key, partial(blame, key, errors[key]), stage)
    return results


def _end(key: Key, blame: Callable[[], None], stage: str) -> None:
    """Write a row's fault; one that takes no write at all is passed over for a while."""
    try:
        isolation.tried(blame)
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
        passing_over.begin(stage, key)
        logger.error(  # noqa: TRY400 -- a traceback has the exception's text
            "%s while row %s was ended in stage %s; the row is passed over for %d s",
            *(type(error).__name__, key, stage, passing_over.PASSED_OVER),
        )


_told: set[tuple[int, str]] = set()
"""The schedules of which this process has logged that a fire failed, and by which error."""


def postpone(fires: Sequence[Fire], error: BaseException) -> None:
    """Leave fires claimed that cannot be published during an outage."""
    logger.warning("%s fires could not be published yet: %s", len(fires), type(error).__name__)
    ledger.postpone(fires, error)


def fail(pk: UUID, schedule_id: int, error: BaseException) -> None:
    """End a fire that cannot be published, with its reason.

    It is an ERROR once per schedule and kind; from then on its streak tells of it, and the doctor.
    """
    kind = type(error).__name__
    level = logging.INFO if (schedule_id, kind) in _told else logging.ERROR
    _told.add((schedule_id, kind))
    logger.log(level, "A fire of schedule %s fails: %s", schedule_id, kind)
    ledger.refuse(pk, reason_of(error))


def refuse(pk: UUID, schedule_id: int, error: BaseException) -> None:
    """End a fire that cannot be read or published, and quarantine its schedule."""
    fail(pk, schedule_id, error)
    quarantine(schedule_id, error)


def quarantine(task_id: int, error: BaseException) -> None:
    """Quarantine a schedule with its reason, until it is changed. Reads nothing of its row."""
    Schedule.objects.bulk_create([Schedule(pk=task_id)], ignore_conflicts=True)
    Schedule.objects.filter(pk=task_id).update(
        next_fire_at=None, quarantined_at=database_now(), quarantine_reason=reason_of(error)
    )
    _log(task_id, error)


def mark(schedule: Schedule, error: BaseException, now: datetime) -> None:
    """Quarantine a schedule that the caller has locked. Saves nothing."""
    schedule.next_fire_at = None
    schedule.quarantined_at = now
    schedule.quarantine_reason = reason_of(error)
    _log(schedule.pk, error)


def _log(task_id: int, error: BaseException) -> None:
    # Not the text of the error: it may quote the row, and so the content of a message.
    logger.error(
        "Schedule %s is quarantined (%s); its page in admin says why", task_id, type(error).__name__
    )
