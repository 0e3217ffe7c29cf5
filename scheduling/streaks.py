"""How often in a row a schedule's fires failed or were skipped, counted as each of them ends.

Counters, since a daily job's last three runs are three days apart: no window of time finds them.
They are read through a partial index of the schedules that have one.
"""

import logging
from collections.abc import Iterable

from django.db.models import F, Q, QuerySet, Value
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Least
from django_celery_beat.models import PeriodicTask

from scheduling.models import FireStatus, Schedule
from scheduling.terms import FAILURES, SKIPS, SUCCESSES

logger = logging.getLogger(__name__)

LONG = 3
"""A streak from here on is worth somebody's attention."""

MOST = 2**31 - 2
"""One less than the column can hold: a count that was written by SQL must not keep a run open."""

_FAILED = Q(failed_in_a_row__gt=0)
_SKIPPED = Q(skipped_in_a_row__gt=0)


def count(schedules: Iterable[int], status: FireStatus) -> None:
    """Count the ends of fires of these schedules; the end of a streak of none writes nothing."""
    rows = Schedule.objects.filter(pk__in=list(schedules))
    if status in FAILURES:
        rows.update(failed_in_a_row=_one_more("failed_in_a_row"), skipped_in_a_row=0)
        _pause_failing(rows)
    elif status in SKIPS:
        rows.update(skipped_in_a_row=_one_more("skipped_in_a_row"))
    elif status in SUCCESSES:
        rows.filter(_FAILED | _SKIPPED).update(failed_in_a_row=0, skipped_in_a_row=0)


def _one_more(column: str) -> CombinedExpression:
    return Least(F(column), Value(MOST)) + 1


def _pause_failing(rows: QuerySet[Schedule]) -> None:
    """Pause those that have failed as often as their policy allows; resumed, as often again."""
    left = F("failed_in_a_row") % F("pause_after")
    failing = rows.filter(pause_after__isnull=False).annotate(left=left).filter(left=0)
    tasks = PeriodicTask.objects.filter(pk__in=list(failing.values_list("pk", flat=True)))
    for name in tasks.filter(enabled=True).values_list("name", flat=True):
        logger.error("The job %r is paused: its last runs have failed", name)
    tasks.update(enabled=False)


def failing(at_least: int = LONG) -> QuerySet[Schedule]:
    """Return the schedules whose last runs failed for good, that many of them or more."""
    return Schedule.objects.filter(_FAILED, failed_in_a_row__gte=at_least)


def skipping(at_least: int = LONG) -> QuerySet[Schedule]:
    """Return the schedules whose last due times were skipped, that many of them or more."""
    return Schedule.objects.filter(_SKIPPED, skipped_in_a_row__gte=at_least)
