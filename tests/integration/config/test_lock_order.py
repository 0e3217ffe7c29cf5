"""What locks several rows does so in one order: people at the admin and processes never deadlock.

Postgres ends one of two transactions that wait for each other, and counts it.
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.models import QuerySet
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from notifications.admin_site.lost_updates import OPENED
from notifications.core.attempt import Outcome, Report, Result
from notifications.db import clock
from notifications.delivery import claims, outcomes
from notifications.models import Batch, Notification
from notifications.operations import batches
from notifications.submission.bulk import send_many
from scheduling import changes, jobs
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Schedule
from tests.integration.config.test_lost_updates import browser_of, errors_of, opened, page_of
from tests.servers.process import wait_until
from tests.servers.processes import Processes

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 5.0
"""For how long people and processes meet."""
SCHEDULES = reverse("admin:django_celery_beat_periodictask_changelist")
BATCHES = reverse("admin:notifications_batch_changelist")
SIMULATED: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello", "priority": "low"}


@pytest.fixture(autouse=True)
def _no_contexts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # The test client would copy the context of each of a page's hundred templates.
    monkeypatch.setattr("django.test.client.store_rendered_templates", lambda *_, **__: None)


@pytest.fixture
def task() -> PeriodicTask:
    """A schedule with its policy."""
    every = IntervalSchedule.objects.create(every=10, period="seconds")
    made = PeriodicTask.objects.create(name="s", task="jobs.note", interval=every)
    while changes.apply_changes(database_now()):
        pass
    return made


@contextmanager
def meanwhile(*acts: Callable[[], Any]) -> Iterator[list[Thread]]:
    """Call each of these in a thread and session of its own; raise what one of them raises."""
    errors: list[BaseException] = []

    def call(act: Callable[[], Any]) -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 -- raised below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=call, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def for_a_while(act: Callable[[], Any]) -> Callable[[], None]:
    def again() -> None:
        ends_at = time.monotonic() + SECONDS
        while time.monotonic() < ends_at:
            act()

    return again


def somebody_waits() -> bool:
    """Return whether a session waits for a lock; ``pg_stat_activity`` would stay as it began."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def deadlocks() -> int:
    """Return how many transactions of this database the server has ended."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def save(browser: Client, task: PeriodicTask, form: dict[str, Any]) -> None:
    changed = {
        "name": task.name,
        "description": str(random.random()),
        "firing-0-periodic_task": str(task.pk),
        "firing-0-max_retries": str(random.randrange(9)),
    }
    answer = browser.post(page_of(task), form | changed)
    assert answer.status_code == 302, errors_of(answer)


@contextmanager
def meanwhile_locked(rows: "QuerySet[Any]", act: Callable[[], Any]) -> Iterator[None]:
    """Lock rows, and call in another session, which comes to wait; then let them go."""
    begin = Event()

    def after_the_lock() -> None:
        begin.wait()
        act()

    with meanwhile(after_the_lock), transaction.atomic():
        try:
            assert list(rows.select_for_update())
        finally:
            begin.set()
        wait_until(somebody_waits)
        yield


def form_of(browser: Client, task: PeriodicTask) -> dict[str, Any]:
    """Return what a browser would send, which undoes what others have saved."""
    form = opened(browser, page_of(task))
    del form[OPENED]
    return form


def test_a_schedule_is_saved_after_who_has_its_policy_and_wants_its_task(
    task: PeriodicTask,
) -> None:
    browser = browser_of("ada")
    form = form_of(browser, task)
    with meanwhile_locked(Schedule.objects.filter(pk=task.pk), lambda: save(browser, task, form)):
        PeriodicTask.objects.select_for_update(nowait=True).get(pk=task.pk)


def test_a_job_is_removed_after_who_has_its_fire_and_wants_its_policy(task: PeriodicTask) -> None:
    now = database_now()
    times = {"scheduled_for": now, "fire_at": now, "due_at": now}
    fire = Fire.objects.create(schedule_id=task.pk, status=FireStatus.CLAIMED, **times)
    with meanwhile_locked(Fire.objects.filter(pk=fire.pk), lambda: jobs.remove("s")):
        Schedule.objects.select_for_update(nowait=True).get(pk=task.pk)
    assert not PeriodicTask.objects.exists()


def test_a_batch_is_paused_without_waiting_for_what_is_just_claimed() -> None:
    batch = send_many([SIMULATED] * 3, name="campaign").batch
    notification = Notification.objects.all()[0]
    with transaction.atomic():  # as a claim locks it
        Notification.objects.select_for_update().get(pk=notification.pk)
        with meanwhile(lambda: batches.pause(batch)):
            pass
    parked = Notification.objects.filter(due_at__isnull=True)
    assert parked.count() == 2
    assert Batch.objects.filter(settled=False).exists()
    batches.tick()
    assert parked.count() == 3
    assert not Batch.objects.filter(settled=False).exists()


@pytest.mark.timeout(300)
def test_schedules_that_fire_and_notifications_that_are_claimed_are_steered(
    processes: Processes,
) -> None:
    second = IntervalSchedule.objects.create(every=1, period="seconds")
    fields = {"task": "notifications.send_notification", "kwargs": json.dumps(SIMULATED)}
    tasks = [
        PeriodicTask.objects.create(name=f"s{number}", interval=second, **fields)
        for number in range(20)
    ]
    batch = send_many([SIMULATED] * 300, name="campaign").batch
    ids = list(batch.notifications.values_list("pk", flat=True))
    for _ in range(2):
        processes.beat()
    wait_until(Schedule.objects.filter(next_fire_at__isnull=False).exists)
    ada, bob = browser_of("ada"), browser_of("bob")
    form = form_of(ada, tasks[0])

    def steer() -> None:
        chosen = [task.pk for task in random.sample(tasks, 10)]
        for action in ("pause_selected", "resume_selected", "run_selected"):
            bob.post(SCHEDULES, {"action": action, "_selected_action": chosen})
        for action in ("pause", "resume"):
            bob.post(BATCHES, {"action": action, "_selected_action": [str(batch.pk)]})

    def claim() -> None:
        now = clock.now()
        taken = claims.claim(random.sample(ids, 100))
        failed, deferred = taken[::2], taken[1::2]
        outcome = Outcome(Result.TRANSIENT, retry_after=0)
        reports = [Report(claim, outcome, provider="p", started_at=now) for claim in failed]
        outcomes.record(reports, worker="")
        outcomes.defer([(claim, now) for claim in deferred], "limited")

    before = deadlocks()
    acts = (lambda: save(ada, random.choice(tasks), form), steer, claim, claim)
    with meanwhile(*map(for_a_while, acts)):
        pass
    for process in processes.started:
        process.terminate()
    for process in processes.started:
        process.wait()  # each has told the server's statistics all by then
    assert deadlocks() == before
    assert Fire.objects.filter(by_hand=False).exists()
    assert Notification.objects.filter(attempt_count__gt=0).exists()
