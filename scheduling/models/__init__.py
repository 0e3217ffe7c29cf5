"""What the scheduler remembers: policy and state of a schedule, and a ledger of its fires.

A *schedule* is a django-celery-beat ``PeriodicTask``; people create and pause it there. The tables
here stand beside it and belong to the schedulers.
"""

from scheduling import installed

installed.require_own("scheduling", 'add "django_celery_beat" and "scheduling".')

from scheduling.models.fire import Fire
from scheduling.models.process import Lease, SchedulerProcess, WorkerProcess
from scheduling.models.schedule import Change, Origin, Schedule, UniqueRun, refuse_long_jitter
from scheduling.terms import FireStatus, Guarantee, Misfire, Overlap

__all__ = [
    "Change",
    "Fire",
    "FireStatus",
    "Guarantee",
    "Lease",
    "Misfire",
    "Origin",
    "Overlap",
    "Schedule",
    "SchedulerProcess",
    "UniqueRun",
    "WorkerProcess",
    "refuse_long_jitter",
]
