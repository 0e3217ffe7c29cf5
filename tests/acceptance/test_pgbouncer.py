"""The same processes behind PgBouncer in transaction mode, with fewer connections than clients."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, PeriodicTask

from notifications.models import FailedDelivery, Notification
from tests.servers.pgbouncer import MISSING, PgBouncer, pgbouncer_binary
from tests.servers.processes import Processes

Wait = Callable[..., Any]

pytestmark = pytest.mark.skipif(pgbouncer_binary() is None, reason=MISSING)

# A bulk send by COPY, a slow walk over many rows, and the same with sends in between.
CALLS = """
import django
django.setup()
from notifications.models import Notification
from notifications.submission import save_recipient, send, send_many
save_recipient("urgent", addresses={"simulator": "urgent"})
people = [{"recipient": f"user{n}", "body": "Hello"} for n in range(3000)]
send_many(people, channel="simulator", priority="low")
for number, _ in enumerate(Notification.objects.order_by("id").iterator(chunk_size=100)):
    if number % 1000 == 0:
        send(channel="simulator", to={"recipient": "urgent"}, body="Hello", priority="high")
"""


@pytest.fixture
def system(processes: Processes) -> Iterator[Processes]:
    pooler = PgBouncer(processes.env["DATABASE_URL"], connections=3).start()
    processes.env |= {
        "DATABASE_URL": pooler.url,
        "DATABASE_IS_POOLED": "1",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    yield processes
    processes.end_all()
    pooler.stop()


def test_calls_schedules_and_replays_go_through_it(system: Processes, wait_until: Wait) -> None:
    system.worker("--concurrency", "4")
    for _ in range(2):
        system.beat()
    due = ClockedSchedule.objects.create(clocked_time=timezone.now() + timedelta(seconds=2))
    PeriodicTask.objects.create(
        name="once",
        task="notifications.send_notification",
        clocked=due,
        one_off=True,
        kwargs=json.dumps({"channel": "simulator", "recipient": "scheduled", "body": "Now"}),
    )
    system.run("calls", "python", "-c", CALLS)
    unsent = Notification.objects.exclude(status="sent")
    wait_until(lambda: Notification.objects.count() >= 3004 and not unsent.exists())
    assert Notification.objects.filter(recipient="scheduled").count() == 1
    assert FailedDelivery.objects.count() == 0


def test_the_web_is_ready_behind_it(system: Processes) -> None:
    system.web()
