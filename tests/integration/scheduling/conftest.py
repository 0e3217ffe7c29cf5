"""Schedules on a real database, and a scheduler that ticks when it is told to."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest
import redis
from celery import Celery
from celery.app.trace import build_tracer
from django.conf import settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from scheduling import changes, claims, dispatch, outlook, recovery, watch
from scheduling.clock import database_now
from scheduling.messages import FIRE_HEADER
from scheduling.models import Change, Fire, Schedule
from tests.integration.scheduling import jobs_app

BUSY_SECONDS = 20.0
T = TypeVar("T")


@pytest.fixture
def app() -> Celery:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        broker.flushdb()
    return jobs_app.app


@pytest.fixture
def make() -> Callable[..., PeriodicTask]:
    """Make a schedule: every ten seconds, unless a rule is given."""
    # Emptying SQLite's tables after the test before fired the triggers once more.
    Change.objects.all().delete()

    def create(name: str = "job", task: str = "jobs.note", **fields: Any) -> PeriodicTask:
        if not {"crontab", "clocked", "solar", "interval"} & fields.keys():
            fields["interval"], _ = IntervalSchedule.objects.get_or_create(
                every=10, period="seconds"
            )
        return PeriodicTask.objects.create(name=name, task=task, **fields)

    return create


@pytest.fixture
def due(make: Callable[..., PeriodicTask]) -> Callable[..., Schedule]:
    """Make a schedule that has been due since ``seconds_ago``, with a policy."""

    def create(
        name: str = "job",
        seconds_ago: float = 0.1,
        policy: dict[str, Any] | None = None,
        **task: Any,
    ) -> Schedule:
        made = make(name, **task)
        apply_all_changes()
        return make_due(made, seconds_ago, **(policy or {}))

    return create


def make_due(task: PeriodicTask, seconds_ago: float = 0.1, **policy: Any) -> Schedule:
    """Move an interval schedule's last answered due time into the past."""
    now = database_now()
    first_due = now - timedelta(seconds=seconds_ago)
    period = task.interval.schedule.run_every
    Schedule.objects.filter(pk=task.pk).update(
        answered_until=first_due - period, next_fire_at=first_due, **policy
    )
    return Schedule.objects.get(pk=task.pk)


def apply_all_changes() -> None:
    while _as_a_scheduler(lambda: changes.apply_changes(database_now())):
        pass


def tick(app: Celery) -> list[Fire]:
    """Do what a scheduler does in one tick; return the fires it published."""
    apply_all_changes()
    now = outlook.look().now
    fires = _as_a_scheduler(lambda: claims.claim_due(now))
    fires += _as_a_scheduler(lambda: recovery.recover(now))
    dispatch.publish(app, fires)
    return fires


def _as_a_scheduler(step: Callable[[], T]) -> T:
    """Do a step again that met an outage: a transaction ends if its process gets no turn for 1 s.

    On a busy machine the test's own process is one.
    """
    return watch.wait_out(step, time.monotonic() + BUSY_SECONDS)


@jobs_app.app.task(name="jobs.here")  # type: ignore[untyped-decorator]
def here() -> None:
    here.body()


def run_here(fire: Fire, body: Callable[[], Any]) -> None:
    """Run a fire of ``jobs.here`` in this process, as a worker's child does."""
    here.body = body
    key = str(fire.pk)
    request = {"id": key, FIRE_HEADER: key, "hostname": "celery@here"}
    build_tracer(here.name, here, app=jobs_app.app)(key, (), {}, request)


def lease_ends() -> None:
    """Have every unfinished fire looked at now."""
    Fire.objects.filter(due_at__isnull=False).update(due_at=database_now())


def queued_messages(queue: str = "jobs") -> int:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        return int(broker.llen(queue))
