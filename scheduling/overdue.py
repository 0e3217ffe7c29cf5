"""Schedules that stand still while a scheduler is alive: no scheduler moves them on.

Their rows take no write (``passing_over``), or the schedulers cannot keep up. Healthy ones answer
what is due within seconds, so half a minute tells the two apart.
"""

from datetime import datetime, timedelta

from scheduling.models import Change, Fire, Schedule

LONG = timedelta(seconds=30)
"""For how long a schedule may be due, or a change or fire of it wait to be looked at."""
MOST = 1000
"""Rows that are read of each kind."""


def keys(now: datetime) -> set[int]:
    """Return which schedules stand still; of very many some. Costs index probes."""
    since = now - LONG
    due = Schedule.objects.filter(next_fire_at__lt=since, periodic_task__enabled=True)
    fires = Fire.objects.filter(due_at__lt=since).order_by()
    # What is passed over is the oldest: others are worked off meanwhile.
    oldest = Change.objects.order_by("pk").values("pk")[:MOST]
    changes = Change.objects.filter(pk__in=oldest, changed_at__lt=since)
    return {
        *due.values_list("pk", flat=True)[:MOST],
        *fires.values_list("schedule_id", flat=True)[:MOST],
        *changes.values_list("periodic_task_id", flat=True),
    }
