"""RabbitMQ that takes no message: low on memory, without a permission, or its queue full."""

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, PeriodicTask

from notifications.models import Notification
from scheduling.models import Fire, FireStatus, Schedule
from tests.servers.process import suspended
from tests.servers.processes import Processes, RunningProcess
from tests.servers.rabbitmq import MISSING, RabbitMQServer, rabbitmq_script
from tests.servers.smtp import SmtpServer

Wait = Callable[..., Any]

pytestmark = pytest.mark.skipif(rabbitmq_script() is None, reason=MISSING)

SEND = """
import json, sys
import django
django.setup()
from notifications.tasks import send_notification
for recipient in json.loads(sys.argv[1]):
    send_notification.apply_async(
        kwargs={
            "channel": "email",
            "recipient": recipient,
            "subject": "Hi",
            "body": "Hello",
            "priority": sys.argv[2],
        }
    )
"""
REASON = "it is low on memory and blocks publishers"


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQServer]:
    server = RabbitMQServer().start()
    yield server
    server.stop()


@pytest.fixture
def system(processes: Processes, smtp_server: SmtpServer, broker: RabbitMQServer) -> Processes:
    broker.flush()
    processes.env |= {
        "BROKER_URL": broker.url,
        "REDIS_URL": settings.BROKER_URL,
        "EMAIL_URL": smtp_server.url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    return processes


def send(system: Processes, *recipients: str, priority: str = "medium") -> None:
    system.run("calls", "python", "-c", SEND, json.dumps(recipients), priority)


def people(smtp_server: SmtpServer) -> list[str]:
    return sorted(name for mail in smtp_server.messages for name in mail.recipients)


def ready(address: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{address}/healthz/ready", timeout=20) as response:
            document: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        document = json.load(error)
    return document


def lines(process: RunningProcess, event: str) -> list[str]:
    return [line for line in process.output().splitlines() if event in line]


def test_an_alarm_is_told_wherever_one_looks_and_its_end_is_told_once(
    broker: RabbitMQServer, system: Processes, smtp_server: SmtpServer, wait_until: Wait
) -> None:
    system.worker("--concurrency", "2")
    beat = system.beat()
    web, address = system.web()
    send(system, "before@example.com")
    wait_until(lambda: people(smtp_server) == ["before@example.com"])
    with broker.low_on_memory():
        send(system, "meanwhile@example.com")  # is accepted
        said = wait_until(lambda: (seen := ready(address))["status"] != "ready" and seen)
        assert said["checks"]["broker"].startswith(REASON)
        with urllib.request.urlopen(f"{address}/metrics", timeout=20) as response:
            assert b"\nnotifications_broker_up 0.0" in response.read()
        assert REASON in system.run("status", "python", "manage.py", "status", "--once")
        doctor = system.start("doctor", "python", "manage.py", "doctor")
        assert doctor.wait(60) == 1
        assert REASON in " ".join(doctor.output().split())
        wait_until(lambda: lines(beat, "broker_away"))  # its sweep has met the alarm
        assert ready(address)["failed"] == ["broker"]  # as at first
        assert not lines(beat, "broker_back") + lines(web, "broker_back")
    wait_until(lambda: len(people(smtp_server)) == 2)
    wait_until(lambda: lines(beat, "broker_back"))
    assert len(lines(beat, "broker_away")) == len(lines(beat, "broker_back")) == 1
    wait_until(lambda: ready(address)["status"] == "ready")


def test_a_worker_that_starts_meanwhile_waits_says_so_and_can_be_ended(
    broker: RabbitMQServer, system: Processes, smtp_server: SmtpServer, wait_until: Wait
) -> None:
    with broker.low_on_memory():
        ends = system.start("worker", "celery", "-A", "config", "worker", "--concurrency", "1")
        waits = system.start("worker", "celery", "-A", "config", "worker", "--concurrency", "1")
        for worker in (ends, waits):
            worker.wait_for_output(f"broker_away: {REASON}")
        ends.terminate()
        assert ends.wait(30) in (0, -signal.SIGTERM)  # the latter as long as it starts
        send(system, "ada@example.com")
        assert waits.returncode is None
    system.beat()
    wait_until(lambda: people(smtp_server) == ["ada@example.com"])


def test_what_is_on_the_broker_is_delivered_all_the_same(
    broker: RabbitMQServer, system: Processes, smtp_server: SmtpServer, wait_until: Wait
) -> None:
    worker = system.worker("--concurrency", "1")
    names = [f"user{n}@example.com" for n in range(10)]
    with suspended(worker.pid):
        send(system, *names)
        broker.control("set_vm_memory_high_watermark", "0.00001")
    with broker.low_on_memory():  # an alarm ends as its queues are emptied
        wait_until(lambda: len(people(smtp_server)) >= len(names))
        wait_until(lambda: Notification.objects.filter(status="sent").count() == len(names))
    assert people(smtp_server) == sorted(names)


def test_a_permission_that_is_missing_is_told_with_its_cure(
    broker: RabbitMQServer, system: Processes
) -> None:
    broker.control("set_permissions", "-p", "/", "guest", ".*", "^$", ".*")
    try:
        doctor = system.start("doctor", "python", "manage.py", "doctor", "--json")
        assert doctor.wait(60) == 1
    finally:
        broker.control("set_permissions", "-p", "/", "guest", ".*", ".*", ".*")
    output = doctor.output()
    found = {finding["id"]: finding for finding in json.loads(output[output.index("[\n") :])}
    assert "it refuses our user, its password or its permissions" in found["broker.away"]["problem"]
    assert "permissions" in found["broker.away"]["cure"]
    assert "scheduler.none" in found


def test_a_worker_and_a_scheduler_outlive_a_permission_that_is_taken_away(
    broker: RabbitMQServer, system: Processes, smtp_server: SmtpServer, wait_until: Wait
) -> None:
    worker, beat = system.worker("--concurrency", "1"), system.beat()
    send(system, "before@example.com")
    wait_until(lambda: people(smtp_server) == ["before@example.com"])
    for configure, write in ((".*", "^$"), ("^$", ".*")):
        broker.control("set_permissions", "-p", "/", "guest", configure, write, ".*")
        try:
            said = len(lines(worker, "AccessRefused"))
            broker.control("close_all_connections", "a test")
            wait_until(lambda: len(lines(worker, "AccessRefused")) > said)  # noqa: B023 -- called within the round
            time.sleep(5)  # for all that a worker does as it connects
        finally:
            broker.control("set_permissions", "-p", "/", "guest", ".*", ".*", ".*")
        name = f"after{len(people(smtp_server))}@example.com"
        send(system, name)
        wait_until(lambda: name in people(smtp_server))  # noqa: B023 -- as above
        assert worker.returncode is beat.returncode is None
    assert worker.first_traceback() == beat.first_traceback() == ""


def test_a_full_queue_costs_a_delay_and_no_other_queue_anything(
    broker: RabbitMQServer, system: Processes, smtp_server: SmtpServer, wait_until: Wait
) -> None:
    full = json.dumps({"max-length": 0, "overflow": "reject-publish"})
    broker.control("set_policy", "full", r"^(email\.low|jobs)$", full, "--apply-to", "queues")
    try:
        beat = system.beat()
        low = [f"low{n}@example.com" for n in range(10)]
        send(system, *low, priority="low")
        job = PeriodicTask.objects.create(
            name="cleanup",
            task="celery.backend_cleanup",
            clocked=ClockedSchedule.objects.create(clocked_time=timezone.now()),
            one_off=True,
        )
        send(system, "medium@example.com")
        fires = Fire.objects.filter(schedule=job.pk)
        wait_until(fires.filter(status=FireStatus.CLAIMED).exists)
        wait_until(lambda: lines(beat, "queue_full"))
        with broker.connection() as connection:
            medium = connection.default_channel.queue_declare("email.medium", passive=True)
        assert medium.message_count > 0
    finally:
        broker.control("clear_policy", "full")
    system.worker("--concurrency", "2")
    wait_until(lambda: people(smtp_server) == sorted([*low, "medium@example.com"]))
    wait_until(fires.filter(status=FireStatus.SUCCEEDED).exists)
    assert beat.first_traceback() == ""
    assert Schedule.objects.get(pk=job.pk).quarantined_at is None
