"""django-celery-beat's mark that a schedule changed: one row, which its own scheduler looks at.

It is written by each save of a schedule, inside the caller's transaction, behind a lock of that
row. So whoever saves a schedule waits for all others who do, and two transactions that lock a
schedule and the mark in different order end in a deadlock. Here the mark is set after the commit,
in a statement of its own. Our schedulers don't look at it: triggers tell them what changed.
"""

from django.db import router, transaction
from django.db.models.signals import post_delete, post_save, pre_delete
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTasks,
    SolarSchedule,
)

from scheduling import transactions


def set_after_commit() -> None:
    """Have the mark set after the commit, whichever of the two apps Django loads first."""
    original = PeriodicTasks.update_changed
    PeriodicTasks.update_changed = _mark_after_commit
    for signal in (post_save, pre_delete, post_delete):
        for sender in (IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
            if signal.disconnect(original, sender=sender):
                signal.connect(_mark_after_commit, sender=sender)


def _mark_after_commit(**_: object) -> None:
    if transactions.is_of_a_test():  # there is no commit
        _mark()
        return
    using = router.db_for_write(PeriodicTasks)
    connection = transaction.get_connection(using)
    savepoints = set(connection.savepoint_ids)
    if not any(f is _mark and within <= savepoints for within, f, _ in connection.run_on_commit):
        transaction.on_commit(_mark, using=using, robust=True)


def _mark() -> None:
    now = timezone.now()
    if not PeriodicTasks.objects.filter(ident=1).update(last_update=now):
        PeriodicTasks.objects.bulk_create([PeriodicTasks(last_update=now)], ignore_conflicts=True)
