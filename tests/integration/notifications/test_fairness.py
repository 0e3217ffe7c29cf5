"""Shares of a real worker's slots: urgent first, low not starved, a hanging provider alone."""

import time

import pytest

from notifications.models import Notification, QueueWeight, Status
from notifications.submission import send, send_many

SLOTS = "2"


def sent(**which):
    return Notification.objects.filter(status=Status.SENT, **which)


@pytest.fixture
def system(processes, set_):
    """A scheduler and, when the backlog stands, a worker whose batches are small."""
    set_("BATCH", {"high": 20, "medium": 20, "low": 20})
    processes.env |= {"NOTIFICATIONS_BATCH_LOW": "20", "NOTIFICATIONS_BATCH_MEDIUM": "20"}
    processes.beat()
    return processes


def test_an_urgent_notification_overtakes_a_backlog(system, wait_until):
    send_many(
        [{"recipient": "ada?latency=0.005"}] * 4000, channel="simulator", body="x", priority="low"
    )
    system.worker("-c", SLOTS)
    wait_until(lambda: sent(priority="low").exists())
    urgent = send(channel="simulator", recipient="ada", body="x", priority="high")
    wait_until(lambda: sent(id=urgent.id).exists())
    assert Notification.objects.filter(priority="low").exclude(status=Status.SENT).count() > 2000


def test_low_is_served_while_high_floods(system, wait_until):
    for priority in ("high", "low"):
        send_many(
            [{"recipient": "ada?latency=0.005"}] * 3000,
            channel="simulator",
            body="x",
            priority=priority,
        )
    system.worker("-c", SLOTS)
    wait_until(lambda: sent(priority="high").count() > 1000, timeout=60)
    high, low = sent(priority="high").count(), sent(priority="low").count()
    assert 0 < low < high / 4


def test_a_hanging_provider_does_not_stop_the_other_channels(system, wait_until):
    system.env |= {
        "NOTIFICATIONS_PROVIDER_TIMEOUT": "20",
        "NOTIFICATIONS_HOLD": "1",
        "NOTIFICATIONS_LEASE": "60",
    }
    hanging = [{"recipient": f"ada{n}?result=hang"} for n in range(200)]
    send_many(hanging, channel="simulator", body="x", priority="high")
    system.worker("-c", SLOTS)
    time.sleep(4)  # long enough for the worker to have run into it
    others = send_many([{"recipient": "ada@example.org"}] * 50, channel="email", body="x")
    wait_until(lambda: sent(channel="email").count() == 50, timeout=60)
    assert others.accepted == 50
    assert not sent(channel="simulator").exists()


def test_an_operators_weight_is_seen_by_running_workers(system, wait_until):
    worker = system.worker("-c", SLOTS, LOG_LEVEL="INFO")
    QueueWeight.objects.create(queue="simulator.low", weight=100)
    send(channel="simulator", recipient="ada", body="x", priority="low")
    wait_until(lambda: sent(priority="low").exists())
    assert "queue_weights_not_read" not in worker.output()
