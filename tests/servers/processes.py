"""The system's own processes, started as an operator starts them: worker, beat, web, others."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from config.processes import BEAT, FLOWER, WEB, WORKER
from tests.servers.forks import ForkedProcess, fork_server
from tests.servers.process import free_port, wait_until
from tests.servers.reaper import reaper

ROOT = Path(__file__).resolve().parent.parent.parent
TAIL_CHARACTERS = 4000
FORKED = ("-m", "-c", "manage.py")
PYTHON_TOOLS = ("celery", "granian")
KILLED = ("worker", "beat", "web")  # all that they have started is in their group


class RunningProcess:
    """A process in a group of its own, its output in ``log``."""

    def __init__(
        self, name: str, command: list[str], env: Mapping[str, str], log: Path, *, forks: bool
    ) -> None:
        self.name = name
        self.log = log
        forked = _forked(command, env, log) if forks else None
        self._process = forked or _executed(command, env, log)
        reaper().guard_process(self.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended (negative: the signal that killed it), None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def first_traceback(self) -> str:
        """Return the first traceback in its log, with the line before it; else nothing."""
        before, found, after = self.output().partition("Traceback (most recent call last)")
        return f"{before[-300:]}{found}{after[:2500]}" if found else ""

    def wait_for_output(self, text: str, timeout: float = 100.0) -> None:
        """Wait until it has printed ``text``. Raises RuntimeError if it ends before that."""

        def printed() -> bool:
            ended = self.returncode is not None
            if text in self.output():
                return True
            if ended:
                raise RuntimeError(f"{self.name} ended with {self.returncode}: {self._tail()}")
            return False

        wait_until(printed, timeout, hint=f"{self.name} did not print {text!r}: {self._tail()}")

    def interrupt(self) -> None:
        """Press Ctrl-C: SIGINT to the whole group, as a terminal sends it."""
        self._signal(signal.SIGINT)

    def terminate(self) -> None:
        """Ask the process (not its group) to stop, as an orchestrator does."""
        self._process.terminate()

    def kill(self) -> None:
        """Kill -9 the whole group: nobody tidies up."""
        self._signal(signal.SIGKILL)
        self.wait()

    def wait(self, timeout: float = 100.0) -> int:
        """Wait for its end, and return its code."""
        return self._process.wait(timeout)

    def end(self, *, orderly: bool = True) -> None:
        """Have it gone: SIGTERM, unless that is not wanted, and SIGKILL for what is left."""
        if orderly and self.returncode is None:
            self.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.wait(10)
        self._signal(signal.SIGKILL)
        self.wait()
        reaper().release_process(self.pid)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _tail(self) -> str:
        return "\n" + self.output()[-TAIL_CHARACTERS:]


class Processes:
    """Starts processes with ``env``; keyword arguments add to it for one process.

    Python programs are forked from one with the libraries imported, unless ``forks`` is false:
    they share memory with it.
    """

    def __init__(self, env: Mapping[str, str], folder: Path, *, forks: bool = True) -> None:
        self.env = dict(env)
        self.started: list[RunningProcess] = []
        self._folder = folder
        self._forks = forks

    def start(self, name: str, *command: str, **env: str) -> RunningProcess:
        """Start any command; ``python`` is this interpreter, tools are taken from its folder."""
        log = self._folder / f"{len(self.started)}-{name}.log"
        process = RunningProcess(name, _resolved(command), self.env | env, log, forks=self._forks)
        self.started.append(process)
        return process

    def run(self, name: str, *command: str, **env: str) -> str:
        """Run a command to its end, and return what it printed. Raises if it fails."""
        process = self.start(name, *command, **env)
        if code := process.wait():
            raise RuntimeError(f"{name} ended with {code}:\n{process.output()[-TAIL_CHARACTERS:]}")
        return process.output()

    def worker(self, *options: str, **env: str) -> RunningProcess:
        """``celery -A config worker``, ready to take messages."""
        process = self.start("worker", *WORKER, *options, **env)
        process.wait_for_output(" ready.")
        return process

    def beat(self, *options: str, **env: str) -> RunningProcess:
        """``celery -A config beat``."""
        process = self.start("beat", *BEAT, *options, **env)
        process.wait_for_output("beat: Starting...")
        return process

    def web(self, **env: str) -> tuple[RunningProcess, str]:
        """The web app under granian; returns it with its address."""
        port = free_port()
        process = self.start("web", *WEB, GRANIAN_PORT=str(port), **env)
        address = f"http://127.0.0.1:{port}"
        wait_for_http(f"{address}/healthz/ready", process)
        return process, address

    def flower(self, **env: str) -> tuple[RunningProcess, str]:
        """Flower; returns it with its address."""
        port = free_port()
        listen = {"FLOWER_ADDRESS": "127.0.0.1", "FLOWER_PORT": str(port)}
        process = self.start("flower", *FLOWER, **listen | env)
        address = f"http://127.0.0.1:{port}"
        wait_for_http(f"{address}/healthcheck", process)
        return process, address

    def end_all(self) -> None:
        """End them, the youngest first: nobody is interested in how these say goodbye."""
        for process in reversed(self.started):
            process.end(orderly=process.name not in KILLED)


def wait_for_http(address: str, process: RunningProcess) -> int:
    """Wait until something answers there, and return the HTTP status."""

    def status() -> int:
        if process.returncode is not None:
            raise RuntimeError(f"{process.name} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(address, timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    return wait_until(status, hint=f"Nothing answers at {address}")


def _forked(command: list[str], env: Mapping[str, str], log: Path) -> ForkedProcess | None:
    """Start a Python program from one that has the libraries; None for anything else."""
    program, *arguments = command
    if program == sys.executable and arguments[0] in FORKED:
        return fork_server().start(arguments, env, log)
    if Path(program).name in PYTHON_TOOLS:
        return fork_server().start(command, env, log)
    return None


def _executed(command: list[str], env: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _resolved(command: tuple[str, ...]) -> list[str]:
    program, *arguments = command
    beside = Path(sys.executable).parent / program
    return [sys.executable if program == "python" else str(beside), *arguments]
