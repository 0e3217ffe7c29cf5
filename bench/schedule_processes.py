"""Real scheduler processes: what they keep in memory, when they see a change, how one is missed.

Stock is the same command with django-celery-beat's own scheduler class, on the same rows.
"""

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import psutil

from bench.benchmark import Benchmark, Sample
from bench.scheduling import SCHEDULES, make_schedules
from bench.stage import Stage
from tests.servers.process import wait_until
from tests.servers.processes import RunningProcess

STOCK = ("--scheduler", "django_celery_beat.schedulers:DatabaseScheduler")
QUEUE = "jobs"
SCHEDULERS = 3
EACH_SECOND = 50
KILLS = 3
WATCHED = timedelta(seconds=4)
"""How long after a kill, or after nothing, the fires are looked at."""


def memory(stage: Stage) -> Callable[[], Sample]:
    make_schedules(SCHEDULES)
    return lambda: Sample(ours=_megabytes(stage), floor=_megabytes(stage, *STOCK))


def change_seen(stage: Stage) -> Callable[[], Sample]:
    make_schedules(SCHEDULES)
    return lambda: Sample(ours=_until_fired(stage), floor=_until_fired(stage, *STOCK))


def failover(stage: Stage) -> Callable[[], Sample]:
    """Measure the floor: the longest delay while all schedulers live."""
    schedulers = [stage.processes.beat() for _ in range(SCHEDULERS)]
    _fire_each_second()

    def kill_one() -> None:
        schedulers.pop(0).kill()

    def play() -> Sample:
        undisturbed = max(_longest_delay(lambda: None) for _ in range(KILLS))
        delays = []
        for _ in range(KILLS):
            delays.append(_longest_delay(kill_one))
            schedulers.append(stage.processes.beat())
        return Sample(ours=max(delays), floor=undisturbed)

    return play


def _scheduler(stage: Stage, *options: str) -> RunningProcess:
    """Start a scheduler that has made its first tick."""
    process = stage.processes.beat(*options, LOG_LEVEL="DEBUG")
    process.wait_for_output("beat: Waking up")
    return process


def _megabytes(stage: Stage, *options: str) -> float:
    process = _scheduler(stage, *options)
    resident: int = psutil.Process(process.pid).memory_info().rss
    process.end()
    return resident / 2**20


def _until_fired(stage: Stage, *options: str) -> float:
    """Return the milliseconds from saving a schedule that is due at once to its message."""
    from django.utils import timezone
    from django_celery_beat.models import ClockedSchedule, PeriodicTask

    process = _scheduler(stage, *options)
    with stage.redis.client() as broker:
        broker.delete(QUEUE)
        clocked = ClockedSchedule.objects.create(clocked_time=timezone.now())
        started = time.perf_counter()
        task = PeriodicTask.objects.create(
            name="saved", task="celery.backend_cleanup", clocked=clocked, one_off=True
        )
        while not broker.llen(QUEUE):
            if time.perf_counter() - started > 60:
                raise RuntimeError("The saved schedule did not fire.")
            time.sleep(0.002)
        seconds = time.perf_counter() - started
    task.delete()
    process.end()
    return seconds * 1000


def _fire_each_second() -> None:
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    every, _ = IntervalSchedule.objects.get_or_create(every=1, period="seconds")
    for number in range(EACH_SECOND):
        PeriodicTask.objects.create(
            name=f"each second {number}", task="celery.backend_cleanup", interval=every
        )


def _longest_delay(disturb: Callable[[], None]) -> float:
    """Return the milliseconds of the longest delay of what was due since ``disturb`` was called."""
    from scheduling.clock import database_now
    from scheduling.models import Fire

    began = database_now()
    disturb()
    end = began + WATCHED
    # the last ones due in time may come out late
    wait_until(lambda: database_now() > end + timedelta(seconds=1))
    fires = Fire.objects.filter(fire_at__gte=began, fire_at__lt=end)
    return max(_delays(fires.values_list("fire_at", "dispatched_at"))) * 1000


def _delays(fires: Iterable[tuple[datetime, datetime | None]]) -> Iterable[float]:
    for due, dispatched in fires:
        if dispatched is None:
            raise RuntimeError(f"What was due at {due} was not published.")
        yield (dispatched - due).total_seconds()


MEMORY = Benchmark(
    title=f"resident memory of a scheduler, {SCHEDULES:,} schedules",
    floor_title="stock django-celery-beat",
    unit=" MB",
    prepare=memory,
)
CHANGE_SEEN = Benchmark(
    title=f"from saving one schedule among {SCHEDULES:,}, due at once, to its message",
    floor_title="stock django-celery-beat",
    unit=" ms",
    prepare=change_seen,
    target="<= 2,000 ms",
)
FAILOVER = Benchmark(
    title=f"longest delay of a due fire, one of {SCHEDULERS} schedulers killed (SIGKILL)",
    floor_title="the same, none killed",
    unit=" ms",
    prepare=failover,
    target="<= 2,000 ms",
)
