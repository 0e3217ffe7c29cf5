"""Schedules that code declared once, and declares no longer.

Entries of ``beat_schedule`` and jobs of ``@jobs.job`` are rows like those that people make, so a
row whose entry was taken out of the code runs on. Each scheduler compares the rows with its code as
it starts. Nobody can tell which jobs ``jobs.register`` will still be called for, and rows of which
no origin was noted may be a person's: neither is ever taken for undeclared.
"""

import logging
from collections.abc import Iterable

from celery import Celery
from django.db.models import QuerySet

from scheduling import job_rows, jobs
from scheduling.clock import database_now
from scheduling.models import Origin, Schedule

logger = logging.getLogger(__name__)

CLEANUP = "celery.backend_cleanup"
"""The entry that Celery adds while results expire."""
NAMES_LOGGED = 10


def compare(app: Celery) -> None:
    """Note which rows this process's code no longer declares, and log their names."""
    entries = {*app.conf.beat_schedule, *([CLEANUP] if app.conf.result_expires else [])}
    declared = {Origin.BEAT_SCHEDULE: entries, Origin.JOB: jobs.declared()}
    now = database_now()
    for origin, still in declared.items():
        noted = Schedule.objects.filter(origin=origin, undeclared_at=None)
        noted.exclude(periodic_task__name__in=still).update(undeclared_at=now)
    if gone := names():
        shown = ", ".join(gone[:NAMES_LOGGED]) + (", …" if len(gone) > NAMES_LOGGED else "")
        logger.warning(
            "%d schedules run on that the code no longer declares: %s. "
            "manage.py prune_schedules removes them.",
            *(len(gone), shown),
        )


def undeclared() -> QuerySet[Schedule]:
    """Return the schedules that the code of the latest scheduler no longer declares."""
    return Schedule.objects.filter(undeclared_at__isnull=False)


def names() -> list[str]:
    """Return the names of the undeclared schedules, in order."""
    by_name = undeclared().order_by("periodic_task__name")
    return list(by_name.values_list("periodic_task__name", flat=True))


def prune(listed: Iterable[str]) -> None:
    """Delete those of these schedules that are still undeclared, with their fires."""
    for name in {*listed} & {*names()}:
        job_rows.remove(name)


def keep(name: str) -> bool:
    """Make an undeclared schedule a person's own; return whether there was one of this name."""
    named = undeclared().filter(periodic_task__name=name)
    return bool(named.update(undeclared_at=None, origin=Origin.UNKNOWN))
