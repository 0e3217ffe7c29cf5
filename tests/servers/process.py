"""A server process of our own, on a loopback port: start, stop, kill, restart."""

import os
import pwd
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, TypeVar

import psutil

from tests.servers.reaper import reaper

START_SECONDS = 30.0
T = TypeVar("T")

# Below the range from which the kernel takes client ports (32768 up on Linux, 49152 on macOS):
# else a client could be given the port of a server that is down for a restart.
PORTS = range(15000, 32000)
# Not the generator that a chaos run seeds: two runs of one seed would be after the same ports.
_chance = random.SystemRandom()


class ServerStartError(RuntimeError):
    """A server did not start; the message ends with its log."""


def wait_until(predicate: Callable[[], T], timeout: float = 100.0, hint: str = "") -> T:
    """Ask until the answer is true, and return it: every 50 ms, after two seconds every 200 ms.

    Raises TimeoutError, with ``hint``, after ``timeout`` seconds. It bounds a test that would
    hang; how long something took is not asserted with it.
    """
    begun = time.monotonic()
    while not (answer := predicate()):
        waited = time.monotonic() - begun
        if waited > timeout:
            raise TimeoutError(hint or f"Still {answer!r} after {timeout} s: {predicate}")
        time.sleep(0.05 if waited < 2 else 0.2)  # each answer may cost a connection
    return answer


@contextmanager
def suspended(pid: int) -> Iterator[None]:
    """Have a process and its children stand still; their connections stay open."""
    family: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        main = psutil.Process(pid)
        family = [main, *main.children(recursive=True)]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def free_port() -> int:
    """Pick a loopback port on which nothing listens."""
    for port in _chance.sample(PORTS, 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerStartError("Found no free port on 127.0.0.1")


class ServerProcess:
    """One server. Subclasses say how it is started and when it is ready."""

    stop_signal = signal.SIGTERM
    start_seconds = START_SECONDS

    def __init__(self, folder: Path, user: str | None = None) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.port = free_port()
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerStartError(f"{type(self).__name__} is not running")
        return self._process.pid

    def start(self) -> Self:
        """Start on the same port and data as before, and return when it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,
                user=self._user,
                group=self._user and _group_of(self._user),
                extra_groups=[] if self._user else None,
            )
        reaper().guard_process(self.pid, self.stop_signal)
        wait_until(self._is_up_or_failed, self.start_seconds, hint=f"See {self.log}")
        return self

    def _is_up_or_failed(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise ServerStartError(
                f"{self.command()[0]} ended with {self._process.returncode}:\n"
                + self.log.read_text(errors="replace")[-2000:]
            )
        return self.is_ready()

    def stop(self) -> None:
        """Stop in an orderly way."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """Kill -9, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        pid = self._process.pid
        if self._process.poll() is None:
            os.killpg(pid, number)
            self._process.wait(START_SECONDS)
        reaper().release_process(pid)
        self._process = None


def _group_of(user: str) -> int:
    return pwd.getpwnam(user).pw_gid
