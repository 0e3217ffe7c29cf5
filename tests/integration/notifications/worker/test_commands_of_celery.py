"""Celery's own commands beside a worker: they load no apps, and probes rely on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from notifications.models import Notification
from tests.servers.processes import Processes

CELERY = ("celery", "-A", "config")


@pytest.fixture
def celery(processes: Processes, tmp_path: Path) -> Callable[..., str]:
    """Run a command in a process of its own: one that is forked has the apps loaded already."""
    folder = tmp_path / "commands"
    folder.mkdir()
    alone = Processes(processes.env, folder, forks=False)
    return lambda *arguments: alone.run(arguments[0], *CELERY, *arguments)


def test_a_worker_answers_each_command(
    celery: Callable[..., str], processes: Processes, accepted: Callable[..., Any]
) -> None:
    processes.worker("-c", "1", "-n", "one@host")
    assert "pong" in celery("inspect", "ping", "--destination", "one@host")
    assert "1 node online" in celery("status")
    assert "simulator.high" in celery("inspect", "active_queues")
    later: Notification = accepted(countdown=3600)
    assert "OK" in celery("control", "revoke", str(later.id))
    later.refresh_from_db()
    assert later.status == "cancelled"
    sent = '{"channel": "simulator", "recipient": "ada", "body": "Hello"}'
    id_ = celery("call", "notifications.send_notification", "--kwargs", sent).split()[-1]
    assert id_ in celery("result", id_)  # waits for it
    assert Notification.objects.get(id=id_).status == "sent"
    assert "purged" in celery("purge", "--force")
