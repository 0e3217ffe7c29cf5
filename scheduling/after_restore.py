"""After a database was restored: due times that the lost one has answered are not answered again.

A backup knows nothing of the fires after it. Schedulers would make up for them, as after an outage,
and each job would run a second time.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from scheduling import changes, ledger
from scheduling.claims import BATCH, plan_due
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Schedule

WHY = "due before the database was restored"


def due_until(moment: datetime) -> tuple[int, int]:
    """Return how many schedules and fires ``pass_over`` would end a due time of.

    Schedules that no scheduler has seen yet are not among them.
    """
    unfinished = Fire.objects.filter(finished_at=None, scheduled_for__lte=moment)
    return _due(moment).count(), unfinished.count()


def pass_over(moment: datetime) -> tuple[int, int]:
    """End what was due until a moment, without running it, before any scheduler runs.

    Schedules go on with their first due time after it; one-off jobs are over. Fires that had not
    ended are cancelled. Returns the number of schedules and of fires. Doing it again changes
    nothing.
    """
    while changes.apply_changes(database_now()):
        pass  # what was saved just before the backup has no due time before this
    keys = list(_due(moment).order_by("pk").values_list("pk", flat=True))
    for first in range(0, len(keys), BATCH):
        _answer(keys[first : first + BATCH], moment)
    return len(keys), ledger.cancel_due_until(moment, WHY)


def _due(moment: datetime) -> QuerySet[Schedule]:
    return Schedule.objects.filter(next_fire_at__lte=moment, periodic_task__enabled=True)


@transaction.atomic
def _answer(keys: Sequence[int], moment: datetime) -> None:
    locked = Schedule.objects.select_for_update().filter(pk__in=keys, next_fire_at__lte=moment)
    fires = plan_due(list(locked.values_list("pk", flat=True)), moment)
    Fire.objects.filter(pk__in=[fire.pk for fire in fires], finished_at=None).update(
        status=FireStatus.SKIPPED_MISFIRE, finished_at=moment, due_at=None, note=WHY
    )
