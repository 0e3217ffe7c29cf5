"""docs/production.md, its commands run in order over a real Postgres that is lost and restored."""

import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.pages import files, marked
from tests.servers.postgres import PostgresServer, binaries
from tests.servers.processes import ROOT, Processes
from tests.servers.redis import RedisServer
from tests.servers.shims import python_shim

SUBMIT = """
from notifications.submission import send
for name in ("first", "second"):
    send(channel="simulator", recipient="ada", body=name, idempotency_key=name)
"""
SCHEDULE = """
from datetime import timedelta
from notifications.db import clock
from notifications.tasks import send_notification
from scheduling import jobs
text = {"channel": "simulator", "recipient": "ada", "body": "once"}
jobs.register("once", send_notification, clock.now() + timedelta(seconds=3), kwargs=text)
"""
STATES = "SELECT idempotency_key, status FROM notifications_notification ORDER BY 1"


SETTINGS = "/etc/notifications.env"


class Page:
    """Runs the blocks of the page, each once; ``left`` are those that were not run yet."""

    def __init__(self, blocks: Any, processes: Processes, folder: Any) -> None:
        self.left = blocks
        self._processes, self._folder = processes, folder

    def settings(self) -> dict[Any, Any]:
        """Return what the settings' file says, as systemd reads it."""
        lines = (self._folder / "notifications.env").read_text().splitlines()
        return {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}

    def __call__(self, name: str, **env: Any) -> Any:
        return self.run(self.left.pop(name), **env)

    def run(self, block: Any, **env: Any) -> Any:
        block = block.replace(SETTINGS, str(self._folder / "notifications.env"))
        code = f"set -eu\ncd {self._folder}\n{block}"
        return self._processes.run("page", shutil.which("bash") or "/bin/bash", "-c", code, **env)


@pytest.fixture
def production(
    processes: Processes, postgres_server: PostgresServer, redis_server: RedisServer, tmp_path: Path
) -> Page:
    """A machine with the settings' file of the page, on servers of the test's own."""
    here = {
        "DATABASE_URL": postgres_server.url,
        "BROKER_URL": redis_server.url,
        "VAR_DIR": str(tmp_path / "var"),
    }
    file = files("production.md")["notifications.env"]
    for name, value in here.items():
        file, found = re.subn(f"^{name}=.*$", f"{name}={value}", file, flags=re.MULTILINE)
        assert found == 1
    (tmp_path / "notifications.env").write_text(file)
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "notifications"
    command.write_text(f'#!/bin/sh\ncd {ROOT} && exec {python_shim()} -m config.command "$@"\n')
    command.chmod(0o755)
    for name in ("HTTPS", "OUTBOX", "OUTGOING_PRIVATE_HOSTS", "SECRET_KEY", *here):
        processes.env.pop(name, None)
    path = f"{programs}:{binaries()}:{processes.env['PATH']}"
    processes.env |= {"PATH": path, "VAR_DIR": here["VAR_DIR"]}
    processes.env["SIMULATOR"] = f"record={tmp_path / 'simulated.log'}"
    blocks = dict(marked("production.md", "run"))

    return Page(blocks, processes, tmp_path)


def states(url: str) -> dict[Any, Any]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute(STATES).fetchall())


def test_the_page_leads_to_a_system_that_is_restored_and_sends_nothing_unasked(
    production: Page,
    processes: Processes,
    postgres_server: PostgresServer,
    tmp_path: Path,
    wait_until: Callable[..., Any],
) -> None:
    with pytest.raises(RuntimeError, match=r"config\.W001(?s:.*)config\.W009"):
        production.run(production.left["check"])
    production("secrets")
    assert "no issues (2 silenced)" in production("check")
    processes.env |= production.settings()
    assert "shop" in production("start")
    first = processes.env["DATABASE_URL"]
    with psycopg.connect(first) as connection:
        people = connection.execute("SELECT username, is_superuser FROM auth_user").fetchall()
    assert people == [("ada", True)]

    # Two wait as the backup is made, and a job; all are sent after it.
    processes.run("submit", "python", "manage.py", "shell", "-v0", "-c", SUBMIT + SCHEDULE)
    production("backup")
    worker = processes.worker("-c", "1")
    beat = processes.beat()
    wait_until(lambda: list(states(first).values()) == ["sent"] * 3)
    worker.terminate()
    beat.terminate()
    assert (worker.wait(), beat.wait()) == (0, 0)
    sent = (tmp_path / "simulated.log").read_text().split()
    stopped = datetime.now(UTC).isoformat()

    # The restored database has both as waiting. Held, they wait; cancelled, they stay unsent.
    empty = PostgresServer().start()
    try:
        with pytest.raises(RuntimeError, match="is not a moment in ISO 8601"):
            production.run(production.left["again"], STOPPED_AT="yesterday")
        restored = production("restore", RESTORED_URL=empty.url, STOPPED_AT=stopped)
        assert "Cancelled 2 notifications, 0 runs of jobs, 0 batches" in restored
        assert "due times of 1 schedules" in restored
        # Each process starts with the file's settings, which the page has changed.
        processes.env |= production.settings()
        assert processes.env["DATABASE_URL"] == empty.url
        processes.worker("-c", "1")
        processes.beat().wait_for_output("beat: Starting...")
        again = SUBMIT.replace('"first", "second"', '"third",')
        processes.run("submit", "python", "manage.py", "shell", "-v0", "-c", again)
        assert "Cancelled 0 notifications" in production("again", STOPPED_AT=stopped)
        production("release")
        wait_until(lambda: states(empty.url)["third"] == "sent")
        assert {states(empty.url)[name] for name in ("first", "second")} == {"cancelled"}
        assert (tmp_path / "simulated.log").read_text().split()[:3] == sent
        assert len((tmp_path / "simulated.log").read_text().split()) == 4
        assert not production.left, "these blocks of the page were not run"
    finally:
        processes.end_all()
        empty.stop()
