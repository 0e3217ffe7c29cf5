"""Flower is guarded, and shows nobody's address or content: a real one, beside a real worker."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import current_app

from config import flower_guard
from notifications.models import Notification
from notifications.tasks import send_to_each
from tests.servers.processes import Processes

ROOT = Path(__file__).resolve().parents[3]
PERSONAL = ("lovelace", "one-time-code", "hopper")


def options(**given: Any) -> SimpleNamespace:
    plain = {"basic_auth": [], "auth": "", "unix_socket": "", "address": "127.0.0.1"}
    return SimpleNamespace(**{**plain, **given})


@pytest.mark.parametrize(
    ("given", "in_production", "opens"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"address": "0.0.0.0"}, False, True),
        (
            {"address": "0.0.0.0", "auth_provider": "flower.views.auth.GitHubLoginHandler"},
            False,
            True,
        ),
        ({"auth_provider": "flower.views.auth.GitHubLoginHandler"}, True, True),
        ({"address": "0.0.0.0", "auth": "ada@example.org"}, True, False),
        ({"address": "0.0.0.0", "basic_auth": ["ada:secret"]}, True, False),
        ({"basic_auth": [""]}, False, True),
        ({"basic_auth": ["ada:"]}, True, True),
        ({"basic_auth": ["ada:secret", "eve"]}, True, True),
        ({"unix_socket": "/run/flower.sock", "address": "0.0.0.0"}, False, False),
    ],
)
def test_flower_is_refused_where_everybody_could_use_it(
    given: dict[str, Any], in_production: bool, opens: bool
) -> None:
    said = flower_guard.problem(options(**given), in_production=in_production)
    assert bool(said) is opens


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        ([], {"ALLOWED_HOSTS": "notify.example.org", "HTTPS": "0"}),
        (["--address=0.0.0.0"], {}),
        (
            [],
            {
                "FLOWER_ADDRESS": "0.0.0.0",
                "FLOWER_AUTH_PROVIDER": "flower.views.auth.GitHubLoginHandler",
            },
        ),
    ],
)
def test_an_open_flower_ends_at_once_whatever_its_options_come_by(
    arguments: list[Any], env: dict[str, Any]
) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("FLOWER_")}
    command = [str(Path(sys.executable).parent / "celery"), "-A", "config", "flower", *arguments]
    ended = subprocess.run(
        command, cwd=ROOT, env=own | env, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    assert "config.E010" in ended.stderr
    assert "Traceback" not in ended.stderr


def listens(pid: Any) -> set[Any]:
    """Return the addresses on which a process listens."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(link.readlink()))
        except FileNotFoundError:
            continue
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return {
        row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes
    }


def test_flower_listens_on_loopback_wants_its_login_and_shows_nothing_personal(
    processes: Processes, wait_until: Callable[..., Any]
) -> None:
    processes.worker("-c", "1", "-n", "one@host")
    process, flower = processes.flower(FLOWER_BASIC_AUTH="boss:secret", FLOWER_ADDRESS="")
    assert listens(process.pid) == {"0100007F"}

    def ask(path: Any, login: str = "Ym9zczpzZWNyZXQ=") -> Any:
        asked = urllib.request.Request(
            f"{flower}{path}", headers={"Authorization": f"Basic {login}"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.read().decode()

    for path in ("/workers", "/api/tasks", "/api/workers"):
        for login in ("Ym9zczp3cm9uZw==", "Og=="):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                ask(path, login)

    good = {"recipients": ["ada-lovelace", "grace-hopper"], "body": "Your code is one-time-code"}
    sent = send_to_each.apply_async(kwargs={"channel": "simulator", **good})
    bad = send_to_each.apply_async(kwargs={"channel": "sms", **good})
    later = send_to_each.apply_async(
        kwargs={"channel": "simulator", **good}, args=[], countdown=600
    )

    def seen() -> Any:
        tasks = json.loads(ask("/api/tasks"))
        states = {tasks[result.id]["state"] for result in (sent, bad, later) if result.id in tasks}
        return tasks if states == {"SUCCESS", "FAILURE", "RECEIVED"} else None

    tasks = wait_until(seen)
    assert Notification.objects.count() == 2
    inspected = current_app.control.inspect(timeout=10, limit=1).scheduled()
    assert inspected["one@host"]
    shown = [tasks, inspected, ask("/tasks"), ask("/api/workers")]
    shown += [
        ask(f"/task/{result.id}") + ask(f"/api/task/info/{result.id}")
        for result in (sent, bad, later)
    ]
    text = json.dumps(shown).lower()
    assert [word for word in PERSONAL if word in text] == []
