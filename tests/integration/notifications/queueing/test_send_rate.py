"""The per-task rate limit over two real workers, whichever way a message comes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from celery import current_app

from notifications.core.routing import SEND_TASK
from notifications.db import clock
from notifications.models import Notification, Status
from notifications.tasks import send_notification
from tests.servers.processes import Processes

SIMULATED: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
EACH = 10  # notifications of each kind
WORKERS = 2
RATE = 5  # notifications per second and worker


def submit(count: int) -> None:
    for _ in range(count):
        send_notification.delay(**SIMULATED)  # its own message
        send_notification.apply_async(kwargs=SIMULATED, countdown=0.5)  # released by the sweep
        current_app.send_task(SEND_TASK, kwargs=SIMULATED)  # another application's message


def sent() -> Any:
    return Notification.objects.filter(status=Status.SENT)


def change_the_rate(rate: Any) -> None:
    """Change it while they run, as Flower does."""
    replies = current_app.control.rate_limit(
        SEND_TASK, rate, reply=True, timeout=100, limit=WORKERS
    )
    answers = [next(iter(reply.values()))["ok"] for reply in replies]
    assert answers == ["new rate limit set successfully"] * WORKERS


def test_the_rate_holds_for_each_worker_however_messages_come(
    processes: Processes, wait_until: Callable[..., Any]
) -> None:
    for _ in range(WORKERS):
        processes.worker("-c", "2", NOTIFICATIONS_SEND_RATE_LIMIT=f"{RATE}/s")
    processes.beat()
    begin = clock.now()
    submit(EACH)
    wait_until(lambda: sent().count() == 3 * EACH)
    # At once goes one of each worker; a machine that is slow only makes it last longer.
    at_least = (3 * EACH / WORKERS - 1) / RATE
    assert sent().latest("sent_at").sent_at - begin >= timedelta(seconds=at_least)
    assert not Notification.objects.filter(attempt_count__gt=1).exists()

    change_the_rate("1/h")
    submit(EACH)
    wait_until(lambda: Notification.objects.count() == 6 * EACH)  # the workers had each message
    assert sent().count() <= 3 * EACH + WORKERS
    change_the_rate("1000/s")
    wait_until(lambda: sent().count() == 6 * EACH)  # at 1/h it would take hours
