"""What ``make up`` runs, with nothing but a folder."""

import os
import re
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.servers.process import free_port
from tests.servers.processes import Processes, RunningProcess
from tests.servers.reaper import temporary_folder

COMMAND = ("python", "-m", "config.up")
PANEL_END = "Ctrl-C stops everything"
PORTS = ("PORT", "FLOWER_PORT", "SMTP_PORT")
OUTSIDE = ("DATABASE_URL", "BROKER_URL", "REDIS_URL", "EMAIL_URL", "HTTPS", "ADMIN_EMAIL")


class Home:
    """A folder in which somebody runs ``make up``."""

    def __init__(self, processes: Processes, var: Path) -> None:
        self._processes = processes
        self.var = var

    def up(self, **env: str) -> RunningProcess:
        return self._processes.start("up", *COMMAND, **env)

    def up_and_ready(self, **env: str) -> RunningProcess:
        process = self.up(**env)
        process.wait_for_output(PANEL_END, timeout=120)
        return process

    def send(self, recipient: str) -> None:
        command = (
            "python",
            "manage.py",
            "send",
            "email",
            recipient,
            "--subject",
            "Hi",
            "--body",
            "Hi",
        )
        self._processes.run("send", *command)

    @property
    def web(self) -> str:
        return f"http://localhost:{self._processes.env['PORT']}"

    def outbox(self) -> list[str]:
        with sqlite3.connect(self.var / "db.sqlite3") as database:
            rows = database.execute("SELECT recipient FROM notifications_outboxmessage")
            return [recipient for (recipient,) in rows]

    def left_over(self) -> list[psutil.Process]:
        """All living processes that were started with this folder."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            ours = process.environ().get("VAR_DIR") == str(self.var)
            return ours and bool(process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


@contextmanager
def _home(folder: Path, *, forks: bool) -> Iterator[Home]:
    var = temporary_folder("up")  # not pytest's: a socket's path has to be short
    env = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    ports = {name: str(free_port()) for name in PORTS}
    known = {"VAR_DIR": str(var), "ADMIN_PASSWORD": "known"}
    processes = Processes(env | ports | known, folder, forks=forks)
    yield Home(processes, var)
    processes.end_all()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with _home(tmp_path, forks=False) as home:
        yield home


@pytest.fixture
def bad_home(tmp_path: Path) -> Iterator[Home]:
    """One in which it does not come to start anything."""
    with _home(tmp_path, forks=True) as home:
        yield home


def test_it_delivers_a_welcome_survives_a_kill_finds_its_data_again_and_stops_cleanly(
    home: Home, wait_until: Callable[..., Any]
) -> None:
    first = home.up_and_ready(ADMIN_PASSWORD="")
    password = re.search(r"Log in as +admin, password (\w{16})", first.output())
    assert password is not None
    assert re.search(r"Welcome notification +(sent|delivered)", first.output())
    assert home.outbox() == ["admin@localhost"]
    assert httpx.get(f"{home.web}/healthz/ready").status_code == 200
    assert "Inspect method" not in first.output()
    assert "Traceback" not in first.output()
    the_admin_reads_the_welcome(home, password[1])
    # Whoever starts it once more, in the same folder, is told so.
    second = home.up(**{name: str(free_port()) for name in PORTS})
    assert second.wait() == 1
    (line,) = second.output().splitlines()
    assert "runs already" in line

    # Killed with SIGKILL it takes its processes along.
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    # The broker may stay; the next start takes its place.
    wait_until(lambda: all("valkey" in found.name() for found in home.left_over()))
    again = home.up_and_ready(ADMIN_PASSWORD="")
    assert "password" not in again.output()
    assert re.search(r"Log in as +admin, as it was set up before", again.output())
    assert home.outbox() == ["admin@localhost", "admin@localhost"]

    children = psutil.Process(again.pid).children()
    [broker] = [child for child in children if Path(child.exe()).name == "valkey-server"]
    broker.kill()
    home.send("ada@example.org")
    wait_until(lambda: "ada@example.org" in home.outbox())
    assert "make up: The broker ended (-9): it is started again." in again.output()
    assert httpx.get(f"{home.web}/healthz/ready").status_code == 200
    again.interrupt()
    assert again.wait() == 0
    assert home.left_over() == []


def the_admin_reads_the_welcome(home: Home, password: str) -> None:
    with httpx.Client(base_url=home.web, follow_redirects=True) as browser:
        form = browser.get("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)
        assert token is not None
        fields = {"username": "admin", "password": password, "csrfmiddlewaretoken": token[1]}
        inside = browser.post("/admin/login/?next=/admin/", data=fields)
        assert "Log out" in inside.text
        outbox = browser.get("/outbox/")
        assert outbox.status_code == 200
        assert "Welcome" in outbox.text
        assert "admin@localhost" in outbox.text


@pytest.mark.parametrize("name", PORTS)
def test_a_busy_port_is_one_line_that_says_what_to_do(bad_home: Home, name: str) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = busy.getsockname()[1]
        process = bad_home.up(**{name: str(taken)})
        assert process.wait() == 1
    (line,) = process.output().splitlines()
    assert f"make up {name}=" in line


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({"PORT": "eighty"}, "PORT"),
        ({"PORT": "18455", "FLOWER_PORT": "18455"}, "different ports"),
        ({"VAR_DIR": "/proc/nowhere"}, "VAR_DIR"),
        ({"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}, "DATABASE_URL"),
        ({"TIME_ZONE": "Mars"}, "TIME_ZONE"),
    ],
)
def test_what_it_cannot_start_with_is_one_line(
    bad_home: Home, env: dict[str, str], complaint: str
) -> None:
    process = bad_home.up(**env)
    assert process.wait() == 1
    (line,) = process.output().splitlines()
    assert complaint in line


def test_a_folder_too_deep_for_the_brokers_socket_is_one_line(bad_home: Home) -> None:
    process = bad_home.up(VAR_DIR=str(bad_home.var / ("x" * 90)))
    assert process.wait() == 1
    (line,) = process.output().splitlines()
    assert "shorter folder" in line
