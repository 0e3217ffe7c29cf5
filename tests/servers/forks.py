"""The tests' end of ``tests.servers.forkserver``: starts programs by forks, and sees them end."""

import functools
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers import forkserver

# What is read only as the program runs, not as it is imported and set up.
READ_LATER = frozenset({"GRANIAN_PORT", "PYTEST_CURRENT_TEST", "SCHEDULING_TEST_RUNS"})
APPS = frozenset({"config", "tests.integration.scheduling.jobs_app"})
SETS_UP_FIRST = re.compile(r"\s*(import [\w, ]+[;\n]\s*)+django\.setup\(\)")
MOST_PREPARED = 12  # but for those whose programs run


class ForkedProcess:
    """A forked program, like ``subprocess.Popen``."""

    def __init__(self, forks: "_Channel", pid: int) -> None:
        self.pid = pid
        self._forks = forks

    def poll(self) -> int | None:
        """Return how it ended, None while it runs."""
        return self._forks.code_of(self.pid)

    def wait(self, timeout: float) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return code

    def terminate(self) -> None:
        """Send SIGTERM, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


class _Channel:
    """The tests' end of the socket of a process that forks."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._begun = b""
        self._codes: dict[int, int | None] = {}

    def send(self, line: Any) -> None:
        self._socket.sendall(json.dumps(line).encode() + b"\n")

    def start(self, asked: dict[str, Any]) -> ForkedProcess:
        """Have it fork what is asked."""
        self.send(asked)
        while True:
            for answer in self.receive():
                if "pid" in answer:
                    return ForkedProcess(self, answer["pid"])

    def code_of(self, pid: int) -> int | None:
        """Return how a process ended, None while it runs."""
        while self._codes.get(pid) is None and select.select([self._socket], [], [], 0)[0]:
            self.receive()
        return self._codes.get(pid)

    def is_idle(self) -> bool:
        """Return whether nothing that it forked runs any more."""
        return all(self.code_of(pid) is not None for pid in [*self._codes])

    def close(self) -> None:
        """Let it end."""
        self._socket.close()

    def receive(self) -> list[dict[str, int]]:
        """Wait for lines, and note whose end they tell."""
        received = self._socket.recv(65536)
        if not received:
            raise RuntimeError("The process that forks has ended.")
        *whole, self._begun = (self._begun + received).split(b"\n")
        answers = [json.loads(line) for line in whole]
        for answer in answers:  # in order: a process may have ended when it is told that it began
            if "pid" in answer:
                self._codes[answer["pid"]] = None  # whatever became of a process before it
            if "ended" in answer:
                self._codes[answer["ended"]] = answer["code"]
        return answers


Key = tuple[str, frozenset[tuple[str, str]]]


class ForkServer:
    """The tests' end. Not for several threads."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._first = _Channel(ours)
        self._prepared: dict[Key, _Channel] = {}
        plain = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        with theirs:
            number = theirs.fileno()
            # -P: this folder's names are those of libraries.
            command = [sys.executable, "-P", forkserver.__file__, str(number)]
            self._process = subprocess.Popen(
                command, env=plain, pass_fds=[number], start_new_session=True
            )
        self._first.send(forkserver.files_of_modules())
        self._first.receive()  # that it has read them: only then may it be sent more

    def start(
        self, argv: list[str], env: Mapping[str, str], log: Path, errors: Path | None = None
    ) -> ForkedProcess:
        """Start ``[a script, "-m" and a module, or "-c" and code; arguments…]``.

        What it says is written to ``log``, its errors too, unless ``errors`` is given.
        """
        log.touch()
        asked = {"argv": argv, "env": dict(env), "log": str(log), "errors": str(errors or log)}
        return self._for(asked).start(asked)

    def listen(self, address: str) -> ForkedProcess:
        """Have one forked that forks what shims ask at this address (``tests.servers.shims``)."""
        return self._first.start({"listens": address})

    def _for(self, asked: dict[str, Any]) -> _Channel:
        role = _role(asked["argv"])
        is_alone = asked["errors"] != asked["log"] or _has_code(asked["env"])
        if role is None or is_alone or _is_read_by_the_command(asked["env"]):
            return self._first
        key = (role, frozenset((k, v) for k, v in asked["env"].items() if k not in READ_LATER))
        channel = self._prepared.pop(key, None) or self._prepare(role, asked)
        if channel is None:  # with such settings no program starts, and what is asked says why
            return self._first
        self._end_one_that_is_idle()
        self._prepared[key] = channel  # the last one is that which was needed last
        return channel

    def _end_one_that_is_idle(self) -> None:
        if len(self._prepared) >= MOST_PREPARED:
            idle = next((key for key, server in self._prepared.items() if server.is_idle()), None)
            if idle is not None:
                self._prepared.pop(idle).close()

    def _prepare(self, role: str, asked: dict[str, Any]) -> _Channel | None:
        """Have one forked that prepares itself, and return when it has; None if it ends instead."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
            address, said = f"{folder}/socket", f"{folder}/said"
            listening.bind(address)
            listening.listen()
            prepares = {"prepares": role, "at": address, "log": said, "errors": said}
            process = self._first.start(asked | prepares)
            while not select.select([listening], [], [], 0.1)[0]:
                if process.poll() is not None:
                    return None
            ours, _ = listening.accept()
            return _Channel(ours)


def _has_code(env: Mapping[str, str]) -> bool:
    """Return whether it brings code of its own, which may be another at the next start."""
    return env.get("PYTHONPATH") != os.environ.get("PYTHONPATH")


def _is_read_by_the_command(env: Mapping[str, str]) -> bool:
    """Return whether Celery's command must have handed on the broker before the app is made."""
    return env.get("BROKER_URL", "").startswith("sentinel")


def _role(argv: list[str]) -> str | None:
    """Return what a program is prepared as, None if it is not."""
    match argv:
        case ["manage.py", _, *_]:
            return "pages"
        case ["-c", code, *_] if SETS_UP_FIRST.match(code):
            return "program"
        case ["-m", "tests.chaos.faults" | "tests.chaos.submitter", *_]:
            return "program"
        case [program, *arguments] if Path(program).name == "granian":
            return "pages" if "config.wsgi:application" in arguments else None
        case [program, "-A", app, "worker" | "beat", *_] if app in APPS:
            return "background" if Path(program).name == "celery" else None
        case _:
            return None


@functools.cache
def fork_server() -> ForkServer:
    """Return this run's, started when it is first needed."""
    return ForkServer()
