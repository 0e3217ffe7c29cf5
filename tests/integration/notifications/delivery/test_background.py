"""The thread that records what slots have left: a fault of its own does not end it."""

from pathlib import Path

from notifications.models import Notification, Status
from notifications.submission import send
from tests.servers.process import wait_until
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer

APP = "tests.integration.notifications.delivery.breaking_app"


def test_what_follows_a_fault_of_the_recording_thread_is_recorded_and_sent_once(
    processes: Processes, redis_server: RedisServer, tmp_path: Path
) -> None:
    log = tmp_path / "simulated.log"
    processes.env |= {
        "BROKER_URL": redis_server.url,
        "NOTIFICATIONS_LEASE": "5",
        "NOTIFICATIONS_PROVIDER_TIMEOUT": "2",
        "NOTIFICATIONS_BATCH_TIME_LIMIT": "2",
        "NOTIFICATIONS_PICKUP_GRACE": "1",
        "SIMULATOR": f"record={log}",
    }
    processes.beat()
    worker = processes.start("worker", "celery", "-A", APP, "worker", "-c", "1")

    send(channel="simulator", recipient="ada?latency=1", body="Hello")
    worker.wait_for_output("thread_broke: SystemExit of deliveries")
    for number in range(5):
        send(channel="simulator", recipient="ada?latency=0.3", body=f"Hello {number}")
    wait_until(lambda: Notification.objects.filter(status=Status.SENT).count() == 6)
    each = log.read_text().split()
    # The batch in hand at the fault is given up: its lease ends, and it is sent again.
    assert len(each) <= 7
    assert len(set(each)) == 6
    assert worker.output().count("thread_broke") == 1
    assert worker.first_traceback() == ""
    assert "Dear Ada" not in worker.output()
