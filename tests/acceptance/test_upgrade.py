"""A database of much older code: migrated with rows in each state, and used by both versions."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import psycopg
import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.process import wait_until
from tests.servers.processes import ROOT, Processes, RunningProcess
from tests.servers.redis import RedisServer

BIN = Path(sys.executable).parent
OLD = "HEAD~300"
SHELL = ("python", "manage.py", "shell", "-v0", "-c")
SUBMIT = """
from notifications.submission import send
send(channel="simulator", recipient="{}", body="Hello")
"""
ENDED = ("sent", "delivered", "failed", "expired", "suppressed")
ROWS = f"""
from datetime import timedelta
from django.utils import timezone
from notifications.models import Notification
from notifications.submission import cancel, send

def accept(recipient, **fields):
    return send(channel="simulator", recipient=recipient, body="Hello", **fields).id

now = timezone.now()
accept("queued")
accept("scheduled", eta=now + timedelta(days=300))
cancel(accept("cancelled", eta=now + timedelta(days=300)))
for status in {ENDED}:
    Notification.objects.filter(pk=accept(status)).update(status=status, due_at=None)
Notification.objects.filter(pk=accept("sending")).update(status="sending", due_at=now)
"""
STATES = "SELECT recipient, status FROM notifications_notification"


@pytest.fixture
def old_version(tmp_path: Path) -> Path:
    """The code of 300 commits ago, where the checkout has its history."""
    known = subprocess.run(
        ["git", "cat-file", "-e", OLD], cwd=ROOT, capture_output=True, check=False
    )
    if known.returncode:  # a copy of the files, or a clone of the newest commits alone
        pytest.skip(f"needs a checkout with {OLD}")
    parts = ("config", "notifications", "scheduling", "templates_engine", "manage.py")
    command = ["git", "archive", OLD, *parts]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tmp_path / "old", filter="data")
    return tmp_path / "old"


def test_rows_of_old_code_are_kept_and_delivered_and_old_code_goes_on(
    processes: Processes,
    redis_server: RedisServer,
    postgres_server: PostgresServer,
    old_version: Path,
) -> None:
    processes.env |= {
        "DATABASE_URL": postgres_server.url,
        "BROKER_URL": redis_server.url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }

    def start(name: str, *command: str) -> RunningProcess:
        program = str(BIN / command[0])
        given = ("/bin/sh", "-c", 'cd "$0" && exec "$@"', str(old_version), program, *command[1:])
        return processes.start(name, *given, PYTHONPATH=str(old_version))

    def run_old(name: str, *command: str) -> None:
        process = start(name, *command)
        assert process.wait() == 0, process.output()

    def states() -> dict[str, str]:
        with psycopg.connect(postgres_server.url) as connection:
            return dict(connection.execute(STATES).fetchall())

    run_old("old migrate", "python", "manage.py", "migrate", "--no-input")
    run_old("old rows", *SHELL, ROWS)
    kept = {status: status for status in (*ENDED, "scheduled", "cancelled")}
    assert states() == {**kept, "queued": "queued", "sending": "sending"}
    before = states()
    processes.run("migrate", "python", "manage.py", "migrate", "--no-input")
    assert states() == before

    # Old code on the new tables accepts and delivers.
    old = start("old worker", "celery", "-A", "config", "worker", "-c", "1")
    old.wait_for_output(" ready.")
    run_old("old submit", *SHELL, SUBMIT.format("by old code"))
    wait_until(lambda: states()["by old code"] == "sent")
    old.terminate()
    assert old.wait() == 0

    # New code delivers what both have accepted, and what a dead worker of before had claimed.
    processes.worker("-c", "1")
    processes.beat()
    processes.run("submit", *SHELL, SUBMIT.format("by new code"))
    run_old("old submit beside", *SHELL, SUBMIT.format("by old code beside"))
    sent = ("by old code", "by new code", "by old code beside", "queued", "sending")
    wait_until(lambda: states() == {**kept, **dict.fromkeys(sent, "sent")})
    assert [process.name for process in processes.started if process.first_traceback()] == []
