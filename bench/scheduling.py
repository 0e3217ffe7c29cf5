"""The scheduler's work beside stock django-celery-beat's, over one Postgres and one Redis.

Both run in this process, tick when they are told to, and publish for real; nothing consumes.
Where stock needs minutes, some of its fires are timed and multiplied, as the title says.
"""

import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from bench.benchmark import Benchmark, Sample
from bench.stage import Stage

SCHEDULES = 20_000
MILLION = 1_000_000
DUE = 500
STOCK_FIRES = 5
IDLE_TICKS = 100
DAY = timedelta(days=1)


class Ours:
    """Our scheduler, started."""

    def __init__(self) -> None:
        from config.celery import app
        from scheduling.scheduler import Scheduler

        self._scheduler = Scheduler(app=app, lazy=True)
        self.idle_tick()

    def idle_tick(self) -> float:
        """Return the milliseconds of a tick that finds nothing to do."""
        return milliseconds(self._scheduler.do_due)

    def fire(self, count: int) -> float:
        """Have ``count`` schedules fall due; return the seconds until all are published."""
        from scheduling.models import Fire, FireStatus

        Fire.objects.all().delete()
        make_due(count)
        started = time.perf_counter()
        while self._scheduler.do_due() == 0:
            pass
        seconds = time.perf_counter() - started
        published = Fire.objects.filter(status=FireStatus.DISPATCHED).count()
        if published != count:
            raise RuntimeError(f"{published} of {count} fires were published")
        return seconds

    def see_change(self) -> float:
        """Save one schedule; return the milliseconds of the tick that takes it in."""
        save_one()
        return self.idle_tick()


class Stock:
    """Stock django-celery-beat, started over the same rows."""

    def __init__(self) -> None:
        from django_celery_beat.schedulers import DatabaseScheduler

        from config.celery import app

        self._scheduler = DatabaseScheduler(app=app, lazy=True)
        # It would save once more at the exit, when the database is gone.
        self._scheduler._finalize.cancel()  # noqa: SLF001 -- there is no other way
        self._scheduler.tick()

    def idle_tick(self) -> float:
        return milliseconds(self._scheduler.tick)

    def fire(self, count: int) -> float:
        """Time a few ticks of one schedule each; return the seconds for ``count`` of them."""
        from django.utils import timezone
        from django_celery_beat.models import PeriodicTask

        due = PeriodicTask.objects.order_by("pk").values("pk")[:count]
        PeriodicTask.objects.filter(pk__in=due).update(last_run_at=timezone.now() - DAY)
        save_one()
        self._scheduler.tick()  # reloads
        seconds = statistics.median(
            milliseconds(self._scheduler.tick) / 1000 for _ in range(STOCK_FIRES)
        )
        return seconds * count

    def see_change(self) -> float:
        save_one()
        return self.idle_tick()


def make_schedules(count: int) -> None:
    """Fill the tables by SQL, all due tomorrow, without going through the triggers."""
    from django.db import connection
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    from scheduling.schedule_rows import rule_text

    PeriodicTask.objects.all().delete()
    interval, _ = IntervalSchedule.objects.get_or_create(every=1, period="days")
    rule = rule_text(PeriodicTask(interval=interval))
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # no triggers
        cursor.execute(
            "INSERT INTO django_celery_beat_periodictask (name, task, interval_id, args, kwargs,"
            " headers, one_off, enabled, total_run_count, date_changed, last_run_at, description)"
            " SELECT 'bench ' || n, 'celery.backend_cleanup', %s, '[]', '{}', '{}', false, true, 0,"
            " now(), now(), '' FROM generate_series(1, %s) n",
            [interval.pk, count],
        )
        _insert_states(cursor, rule)
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("DELETE FROM scheduling_change")
        cursor.execute("VACUUM ANALYZE")


def _insert_states(cursor: Any, rule: str) -> None:
    from scheduling.models import Schedule

    fields = [field for field in Schedule._meta.concrete_fields if not field.null]
    values = {
        "periodic_task": "id",
        **{
            field.name: f"'{field.get_default()}'"
            for field in fields
            if field.name != "periodic_task"
        },
        "rule": f"'{rule}'",
    }
    columns = ", ".join(str(field.column) for field in fields)
    cursor.execute(
        f"INSERT INTO scheduling_schedule ({columns}, next_fire_at, answered_until)"
        f" SELECT {', '.join(str(values[field.name]) for field in fields)},"
        " now() + interval '1 day', now() FROM django_celery_beat_periodictask"
    )


def make_due(count: int) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE scheduling_schedule SET next_fire_at = now() + interval '1 day',"
            " answered_until = now()"
        )
        cursor.execute(
            "UPDATE scheduling_schedule SET next_fire_at = now(),"
            " answered_until = now() - interval '1 day' WHERE periodic_task_id IN"
            " (SELECT id FROM django_celery_beat_periodictask ORDER BY id LIMIT %s)",
            [count],
        )
        cursor.execute("VACUUM ANALYZE scheduling_schedule")


def save_one() -> None:
    """Change one schedule as the admin does."""
    from django.utils import timezone
    from django_celery_beat.models import PeriodicTask

    task = PeriodicTask.objects.order_by("-pk").first()
    assert task is not None
    task.start_time = timezone.now()
    task.save()


def milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def _compared(measure: Callable[[Ours | Stock], float]) -> Callable[[Stage], Callable[[], Sample]]:
    def prepare(_: Stage) -> Callable[[], Sample]:
        make_schedules(SCHEDULES)
        ours, stock = Ours(), Stock()
        return lambda: Sample(ours=measure(ours), floor=measure(stock))

    return prepare


def idle_tick(scheduler: Ours | Stock) -> float:
    """Return the microseconds of a tick that finds nothing to do."""
    ticks = IDLE_TICKS if isinstance(scheduler, Ours) else STOCK_FIRES
    return statistics.median(scheduler.idle_tick() for _ in range(ticks)) * 1000


def _idle_over_a_million(_: Stage) -> Callable[[], Sample]:
    make_schedules(SCHEDULES)
    ours = Ours()
    few = idle_tick(ours)
    make_schedules(MILLION)
    return lambda: Sample(ours=idle_tick(ours), floor=few)


def _start(_: Stage) -> Callable[[], Sample]:
    make_schedules(SCHEDULES)
    return lambda: Sample(ours=milliseconds(Ours), floor=milliseconds(Stock))


IDLE = Benchmark(
    title=f"idle tick, {SCHEDULES:,} schedules",
    floor_title="stock django-celery-beat",
    unit=" µs",
    prepare=_compared(idle_tick),
    target="<= 500 µs",
)
IDLE_MILLION = Benchmark(
    title=f"idle tick, {MILLION:,} schedules",
    floor_title=f"ours, {SCHEDULES:,} schedules",
    unit=" µs",
    prepare=_idle_over_a_million,
    target="<= 500 µs, <= 1.2 x",
)
CHANGE = Benchmark(
    title=f"work for one saved schedule among {SCHEDULES:,}",
    floor_title="stock django-celery-beat",
    unit=" ms",
    prepare=_compared(lambda scheduler: scheduler.see_change()),
)
BURST = Benchmark(
    title=f"{DUE} of {SCHEDULES:,} due at once, all published",
    floor_title=f"stock django-celery-beat, {STOCK_FIRES} fires timed and multiplied",
    unit=" ms",
    prepare=_compared(lambda scheduler: scheduler.fire(DUE) * 1000),
    target="<= 500 ms",
)
ALL_AT_ONCE = Benchmark(
    title=f"all {SCHEDULES:,} due at once, all published",
    floor_title=f"stock django-celery-beat, {STOCK_FIRES} fires timed and multiplied",
    unit=" ms",
    prepare=_compared(lambda scheduler: scheduler.fire(SCHEDULES) * 1000),
)
START = Benchmark(
    title=f"start-up with {SCHEDULES:,} schedules, Django and Celery being loaded",
    floor_title="stock django-celery-beat",
    unit=" ms",
    prepare=_start,
)
