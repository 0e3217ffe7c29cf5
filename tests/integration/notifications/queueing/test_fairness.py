"""Shares of a real worker's slots: urgent first, low not starved, a hanging provider alone."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.core.management import call_command
from django.db.models import Max, Min

from notifications.models import Notification, ProviderAccount, Status
from notifications.providers import accounts
from notifications.queueing import allocation, slot_time
from notifications.queueing.slot_time import Spent
from notifications.submission import send, send_many
from tests.integration.scheduling.jobs_app import RUNS
from tests.servers.process import suspended
from tests.servers.processes import Processes

SLOTS = "2"
JOBS_APP = "tests.integration.scheduling.jobs_app"
LONGER_THAN_THE_TEST = 120


def sent(**which: Any) -> Any:
    return Notification.objects.filter(status=Status.SENT, **which)


@pytest.fixture
def system(processes: Processes, set_: Callable[..., None]) -> Any:
    """A scheduler and, when the backlog stands, a worker whose batches are small."""
    set_("BATCH", {"high": 20, "medium": 20, "low": 20})
    processes.env |= {"NOTIFICATIONS_BATCH_LOW": "20", "NOTIFICATIONS_BATCH_MEDIUM": "20"}
    processes.beat()
    return processes


def have_one_connection() -> None:
    """Have each process make one call at a time: there is work for as long as a test looks."""
    ProviderAccount.objects.create(
        name="one", channel="simulator", kind="simulator", settings={"connections": 1}
    )
    accounts.forget()


def test_an_urgent_notification_overtakes_a_backlog(
    system: Any, wait_until: Callable[..., Any]
) -> None:
    have_one_connection()
    send_many(
        [{"recipient": "ada?latency=0.02"}] * 4000, channel="simulator", body="x", priority="low"
    )
    system.worker("-c", SLOTS)
    wait_until(lambda: sent(priority="low").exists())
    urgent = send(channel="simulator", recipient="ada", body="x", priority="high")
    wait_until(lambda: sent(id=urgent.id).exists())
    assert Notification.objects.filter(priority="low").exclude(status=Status.SENT).count() > 2000


def test_low_is_served_while_high_floods(system: Any, wait_until: Callable[..., Any]) -> None:
    have_one_connection()
    for priority in ("high", "low"):
        send_many(
            [{"recipient": "ada?latency=0.01"}] * 3000,
            channel="simulator",
            body="x",
            priority=priority,
        )
    system.worker("-c", SLOTS)
    wait_until(lambda: sent(priority="high").count() > 500)
    high, low = sent(priority="high").count(), sent(priority="low").count()
    assert 0 < low < high / 4


def test_a_hanging_provider_does_not_stop_the_other_channels(
    system: Any, wait_until: Callable[..., Any]
) -> None:
    system.env |= {
        "NOTIFICATIONS_PROVIDER_TIMEOUT": "20",
        "NOTIFICATIONS_BATCH_TIME_LIMIT": "1",
        "NOTIFICATIONS_LEASE": "60",
    }
    hanging = [{"recipient": f"ada{n}?result=hang"} for n in range(200)]
    send_many(hanging, channel="simulator", body="x", priority="high")
    system.worker("-c", SLOTS)
    time.sleep(4)  # long enough for the worker to have run into it
    others = send_many([{"recipient": "ada@example.org"}] * 50, channel="email", body="x")
    wait_until(lambda: sent(channel="email").count() == 50)
    assert others.accepted == 50
    assert not sent(channel="simulator").exists()


def test_an_operators_weight_is_followed_by_running_workers(
    system: Any, wait_until: Callable[..., Any]
) -> None:
    # Many connections: of one alone the more urgent are first, whatever the weights.
    for priority in ("high", "low"):
        many = [{"recipient": "ada?latency=0.2"}] * 6000
        send_many(many, channel="simulator", body="x", priority=priority)
    worker = system.worker("-c", SLOTS)
    wait_until(lambda: sent(priority="high").count() > 100)
    with suspended(worker.pid):
        call_command("allocation", "--set", "simulator.low=1000")
        before = {priority: sent(priority=priority).count() for priority in ("high", "low")}
    assert before["low"] < before["high"] / 2

    def since(priority: str) -> int:
        return int(sent(priority=priority).count() - before[priority])

    wait_until(lambda: since("low") > since("high") + 100)
    assert sent(priority="high").count() < 6000  # some have waited all the time


def share_of(queue: str) -> allocation.Allocation:
    return allocation.read()[queue]


def messages_of(queue: str) -> int:
    spent = slot_time.last_minute()
    assert spent is not None
    return spent.get(queue, Spent()).messages


def test_the_slot_time_of_each_queue_is_known_however_its_messages_ended(
    system: Any, wait_until: Callable[..., Any]
) -> None:
    for result in ("ok", "permanent", "transient"):
        send(channel="simulator", recipient=f"ada?latency=0.5&result={result}", body="x")
    system.worker("-c", SLOTS)
    wait_until(lambda: messages_of("simulator.medium") >= 3)
    assert share_of("simulator.medium").share == 1
    assert (share_of("simulator.medium").service_time or 0) > 0
    assert share_of("simulator.low").share == 0


def test_what_a_worker_took_is_known_after_it_has_ended(
    system: Any, wait_until: Callable[..., Any]
) -> None:
    worker = system.worker("-c", SLOTS)
    send(channel="simulator", recipient="ada?latency=0.2", body="x")
    wait_until(sent(priority="medium").exists)
    worker.terminate()
    worker.wait()
    assert share_of("simulator.medium").share == 1


def test_jobs_take_their_share_too(system: Any, wait_until: Callable[..., Any]) -> None:
    system.env["SCHEDULING_ALLOWED_TASKS"] = "*"
    current_app.send_task("celery.backend_cleanup", queue="jobs")
    system.worker("-c", SLOTS)
    wait_until(lambda: share_of("jobs").share == 1)


def test_long_jobs_leave_idle_slots_to_jobs_and_all_of_them_one_to_notifications(
    processes: Processes, wait_until: Callable[..., Any], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.touch()
    processes.env |= {RUNS: str(runs), "NOTIFICATIONS_BATCH_TIME_LIMIT": "0.2"}
    worker = processes.start("worker", "celery", "-A", JOBS_APP, "worker", "-c", "3")
    worker.wait_for_output(" ready.")

    def start_long_jobs(count: int) -> None:
        for _ in range(count):
            current_app.send_task("jobs.sleep", [LONGER_THAN_THE_TEST], queue="jobs")

    def begun() -> Any:
        return runs.read_text().count("begin")

    start_long_jobs(1)
    wait_until(lambda: begun() == 1)
    time.sleep(2)  # a channel whose messages take as long would be held back as slow
    for number in range(3):
        current_app.send_task("jobs.note", [f"short {number}"], queue="jobs")
        wait_until(lambda number=number: f"short {number}" in runs.read_text())
    start_long_jobs(3)
    wait_until(lambda: begun() == 3)
    urgent = send(channel="simulator", recipient="ada", body="x", priority="high")
    wait_until(lambda: sent(id=urgent.id).exists())
    assert begun() == 3


def test_beside_waiting_notifications_jobs_hold_their_share_of_the_slots_and_else_all(
    processes: Processes,
    wait_until: Callable[..., Any],
    tmp_path: Path,
    redis_client: Any,
) -> None:
    runs = have_a_backlog(processes, wait_until, tmp_path, redis_client)
    worker = processes.start("worker", "celery", "-A", JOBS_APP, "worker", "-c", "4")
    worker.wait_for_output(" ready.")
    for _ in range(200):
        current_app.send_task("jobs.span", [0.05], queue="jobs")
    most = 0
    while redis_client.llen("jobs"):
        so_far = runs.read_text()  # the notifications below have waited all the time until now
        if redis_client.llen("simulator.low") < 10:
            break
        most = most_at_once(so_far)
        assert most <= 2
        time.sleep(0.05)
    assert most == 2
    waiting = Notification.objects.filter(priority="low", due_at__isnull=False)
    waiting.exclude(status="sending").update(status="cancelled", due_at=None)
    for _ in range(4):
        current_app.send_task("jobs.span", [LONGER_THAN_THE_TEST], queue="jobs")
    wait_until(lambda: most_at_once(runs.read_text()) == 4)


def test_short_jobs_wait_neither_for_a_long_one_nor_for_waiting_notifications(
    processes: Processes,
    wait_until: Callable[..., Any],
    tmp_path: Path,
    redis_client: Any,
) -> None:
    runs = have_a_backlog(processes, wait_until, tmp_path, redis_client)
    worker = processes.start("worker", "celery", "-A", JOBS_APP, "worker", "-c", "2")
    worker.wait_for_output(" ready.")
    current_app.send_task("jobs.sleep", [LONGER_THAN_THE_TEST], queue="jobs")
    wait_until(lambda: "begin" in runs.read_text())
    for number in range(3):
        current_app.send_task("jobs.note", [f"short {number}"], queue="jobs")
        wait_until(lambda number=number: f"short {number}" in runs.read_text())
    assert redis_client.llen("simulator.low") > 3  # so notifications have waited all the time


def have_a_backlog(
    processes: Processes, wait_until: Callable[..., Any], folder: Path, redis_client: Any
) -> Path:
    """Have low notifications wait on the broker; return the file where jobs note their runs."""
    runs = folder / "runs"
    runs.touch()
    have_one_connection()  # a slot is held while not all of its batch is handed over
    # By their weights alone, jobs would have four times the slot time of low.
    many = [{"recipient": "ada?latency=0.01"}] * 3000
    send_many(many, channel="simulator", body="x", priority="low")
    processes.env |= {
        RUNS: str(runs),
        "NOTIFICATIONS_BATCH_LOW": "20",
        "NOTIFICATIONS_RELEASED_MESSAGES": "200",  # all wait on the broker at once
    }
    processes.beat()
    wait_until(lambda: redis_client.llen("simulator.low") > 100)
    return runs


def most_at_once(runs: str) -> int:
    """Return how many runs of ``jobs.span`` were under way at once at most, by their notes."""
    most = now = 0
    for line in runs.splitlines():
        now += {"begin": 1, "end": -1}[line.split()[1]]
        most = max(most, now)
    return most


def test_an_idle_queues_slots_go_to_others_and_come_back_over_all_workers(
    system: Any, wait_until: Callable[..., Any]
) -> None:
    have_one_connection()
    many = [{"recipient": "ada?latency=0.01"}] * 10_000
    send_many(many, channel="simulator", body="x", priority="low")
    workers = [system.worker("-c", "1", "-n", f"{name}@%h") for name in ("one", "two")]
    wait_until(lambda: share_of("simulator.low").share == 1)
    workers[0].kill()
    system.worker("-c", "1", "-n", "one@%h")
    send_many(many[:400], channel="simulator", body="x", priority="high")
    wait_until(lambda: sent(priority="high").count() == 400)
    after = sent(priority="low").count()
    of_high = sent(priority="high").aggregate(first=Min("sent_at"), last=Max("sent_at"))
    meanwhile = sent(priority="low", sent_at__range=(of_high["first"], of_high["last"]))
    assert meanwhile.count() < 200
    wait_until(lambda: 0 < (share_of("simulator.high").share or 0) < 1)
    wait_until(lambda: sent(priority="low").count() > after + 200)


def test_a_queue_that_waits_too_long_has_its_weight_raised_until_it_is_served(
    processes: Processes,
    accepted: Callable[..., Notification],
    age: Callable[..., None],
    wait_until: Callable[..., Any],
) -> None:
    processes.env["NOTIFICATIONS_RAISE_AFTER"] = "30"
    for _ in range(3):
        age(accepted(priority="low"), 600)
    scheduler = processes.beat()
    wait_until(lambda: share_of("simulator.low").source == "age")
    assert share_of("simulator.low").weight == 2
    scheduler.wait_for_output("queue_weight_changed")
    assert "allocation failed" not in scheduler.output()
    scheduler.kill()
    processes.beat()
    assert share_of("simulator.low").source == "age"
    processes.worker("-c", SLOTS)
    wait_until(lambda: share_of("simulator.low").source == "settings")
    assert sent(priority="low").count() == 3


def test_one_setting_turns_the_weights_off(system: Any, wait_until: Callable[..., Any]) -> None:
    system.env["NOTIFICATIONS_FAIR_QUEUES"] = "0"
    for priority in ("high", "low"):
        many = [{"recipient": "ada?latency=0.005"}] * 3000
        send_many(many, channel="simulator", body="x", priority=priority)
    system.worker("-c", SLOTS)
    wait_until(lambda: sent(priority="high").count() > 1000)
    assert sent(priority="low").count() > sent(priority="high").count() / 2
