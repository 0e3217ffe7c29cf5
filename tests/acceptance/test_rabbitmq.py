"""The same processes with RabbitMQ as the broker, on classic and on quorum queues."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, PeriodicTask

from notifications.core.routing import JOBS_QUEUE
from notifications.models import Notification
from notifications.worker.queues import DEAD_MESSAGES, DELIVERIES
from tests.servers.processes import Processes
from tests.servers.rabbitmq import MISSING, RabbitMQServer, rabbitmq_script
from tests.servers.smtp import SmtpServer
from tests.thorough import THOROUGH

Wait = Callable[..., Any]
Send = Callable[..., None]

pytestmark = pytest.mark.skipif(rabbitmq_script() is None, reason=MISSING)

# What a queue's type has no part in is tried on one.
on_quorum_queues = pytest.mark.parametrize("rabbitmq", ["quorum"], indirect=True)
on_classic_queues = pytest.mark.parametrize(
    "rabbitmq", ["classic", "quorum"] if THOROUGH else ["classic"], indirect=True
)

APPLY_ASYNC = """
import json, sys
import django
django.setup()
from notifications.tasks import send_notification
for kwargs in json.loads(sys.argv[1]):
    send_notification.apply_async(kwargs=kwargs)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitMQServer]:
    server = RabbitMQServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["classic", "quorum"])
def rabbitmq(
    request: pytest.FixtureRequest, server: RabbitMQServer
) -> Iterator[tuple[RabbitMQServer, str]]:
    yield server, request.param
    server.delete_queues()  # they would keep their type


@pytest.fixture
def broker(rabbitmq: tuple[RabbitMQServer, str]) -> RabbitMQServer:
    server, _ = rabbitmq
    server.flush()
    return server


@pytest.fixture
def system(
    processes: Processes, smtp_server: SmtpServer, rabbitmq: tuple[RabbitMQServer, str]
) -> Processes:
    server, queue_type = rabbitmq
    processes.env |= {
        "BROKER_URL": server.url,
        "BROKER_QUEUE_TYPE": queue_type,
        "REDIS_URL": settings.BROKER_URL,
        "EMAIL_URL": smtp_server.url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    return processes


@pytest.fixture
def send(system: Processes) -> Send:
    """Call ``apply_async`` for mails to these people, in a process that has this broker."""

    def send(*recipients: str, **changes: str) -> None:
        mails = [
            {"channel": "email", "recipient": name, "subject": "Hi", "body": "Hello", **changes}
            for name in recipients
        ]
        system.run("calls", "python", "-c", APPLY_ASYNC, json.dumps(mails))

    return send


def people(smtp_server: SmtpServer) -> list[str]:
    return [name for mail in smtp_server.messages for name in mail.recipients]


def test_a_call_becomes_a_mail(
    broker: RabbitMQServer,
    system: Processes,
    send: Send,
    smtp_server: SmtpServer,
    wait_until: Wait,
) -> None:
    system.worker("--concurrency", "2")  # and no scheduler: it is the message that does it
    send("ada@example.com")
    wait_until(lambda: people(smtp_server) == ["ada@example.com"])
    sent = wait_until(lambda: Notification.objects.filter(status="sent").first())
    assert [attempt.number for attempt in sent.attempts.all()] == [1]


@on_quorum_queues
def test_a_schedule_fires(
    broker: RabbitMQServer, system: Processes, smtp_server: SmtpServer, wait_until: Wait
) -> None:
    system.worker("--concurrency", "2")
    system.beat()
    due = timezone.now() + timedelta(seconds=2)
    mail = {"channel": "email", "recipient": "ada@example.com", "subject": "Due", "body": "Now"}
    PeriodicTask.objects.create(
        name="once",
        task="notifications.send_notification",
        clocked=ClockedSchedule.objects.create(clocked_time=due),
        one_off=True,
        kwargs=json.dumps(mail),
    )
    wait_until(lambda: people(smtp_server) == ["ada@example.com"])


@on_quorum_queues
def test_an_urgent_mail_overtakes_a_backlog(
    broker: RabbitMQServer,
    system: Processes,
    send: Send,
    smtp_server: SmtpServer,
    wait_until: Wait,
) -> None:
    slow = [f"low{n}@example.com" for n in range(100)]
    system.env["NOTIFICATIONS_BATCH_LOW"] = "5"
    send(*slow, priority="low")
    send("urgent@example.com", priority="high")
    system.worker("--concurrency", "1")
    system.beat()
    wait_until(lambda: len(people(smtp_server)) == 101)
    assert people(smtp_server).index("urgent@example.com") < 50


@on_quorum_queues
def test_messages_that_are_lost_are_rung_again(
    broker: RabbitMQServer,
    system: Processes,
    send: Send,
    smtp_server: SmtpServer,
    wait_until: Wait,
) -> None:
    send(*(f"user{n}@example.com" for n in range(20)))
    broker.flush()
    system.worker("--concurrency", "2")
    system.beat()
    wait_until(lambda: len(set(people(smtp_server))) == 20)
    assert len(people(smtp_server)) == 20


@on_classic_queues
def test_what_was_accepted_while_the_broker_was_down_is_sent_when_it_is_back(
    broker: RabbitMQServer,
    system: Processes,
    send: Send,
    smtp_server: SmtpServer,
    wait_until: Wait,
) -> None:
    system.worker("--concurrency", "2")
    system.beat()
    send("before@example.com")
    wait_until(lambda: people(smtp_server) == ["before@example.com"])
    broker.kill()
    send("meanwhile@example.com")
    broker.start()
    wait_until(lambda: len(people(smtp_server)) == 2)
    send("after@example.com")
    wait_until(lambda: len(people(smtp_server)) == 3)


@on_quorum_queues
def test_without_redis_it_delivers_and_says_what_is_missing(
    broker: RabbitMQServer,
    system: Processes,
    send: Send,
    smtp_server: SmtpServer,
    wait_until: Wait,
) -> None:
    system.env["REDIS_URL"] = ""
    system.worker("--concurrency", "2")
    send("ada@example.com")
    wait_until(lambda: people(smtp_server) == ["ada@example.com"])
    assert "config.W006" in system.run("check", "python", "manage.py", "check", "--deploy")


@on_quorum_queues
def test_the_operator_sees_the_depth_of_each_queue(
    broker: RabbitMQServer, system: Processes, send: Send
) -> None:
    send("ada@example.com", "ben@example.com", priority="high")
    shown = system.run("status", "python", "manage.py", "status", "--json")
    on_broker = {
        (queue["channel"], queue["priority"]): queue["on_broker"]
        for queue in json.loads(shown)["queues"]
    }
    assert on_broker["email", "high"] == 2
    assert sum(on_broker.values()) == 2


@on_quorum_queues  # classic queues do not count deliveries, so only the others can promise it
def test_a_message_that_no_worker_survives_is_put_aside(
    broker: RabbitMQServer, system: Processes, wait_until: Wait
) -> None:
    system.worker().end()  # it has declared the queues
    with broker.connection() as connection:
        queue = connection.SimpleQueue(DEAD_MESSAGES(connection.default_channel))
        queue.clear()
        channel = connection.channel()
        connection.Producer(channel).publish("deadly", routing_key=JOBS_QUEUE)
        for _ in range(DELIVERIES + 1):
            taken = wait_until(lambda: channel.basic_get(JOBS_QUEUE))
            channel.basic_reject(taken.delivery_tag, requeue=True)
        assert queue.get(timeout=10).payload == "deadly"
        assert channel.basic_get(JOBS_QUEUE) is None
