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
from tests.servers.process import free_port, wait_until
from tests.servers.reaper import reaper

ROOT = Path(__file__).resolve().parent.parent.parent
TAIL_CHARACTERS = 4000


class RunningProcess:
    """A process in a group of its own, its output in ``log``."""

    def __init__(self, name: str, command: list[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
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

    def end(self) -> None:
        """Have it gone: SIGTERM, then SIGKILL for what is left of its group."""
        if self.returncode is None:
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
    """Starts processes with ``env``; keyword arguments add to it for one process."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self.env = dict(env)
        self.started: list[RunningProcess] = []
        self._folder = folder

    def start(self, name: str, *command: str, **env: str) -> RunningProcess:
        """Start any command; ``python`` is this interpreter, tools are taken from its folder."""
        log = self._folder / f"{len(self.started)}-{name}.log"
        process = RunningProcess(name, _resolved(command), self.env | env, log)
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
        process = self.start("flower", *FLOWER, **listen, **env)
        address = f"http://127.0.0.1:{port}"
        wait_for_http(f"{address}/healthcheck", process)
        return process, address

    def end_all(self) -> None:
        """End them, the youngest first."""
        for process in reversed(self.started):
            process.end()


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


def _resolved(command: tuple[str, ...]) -> list[str]:
    program, *arguments = command
    beside = Path(sys.executable).parent / program
    return [sys.executable if program == "python" else str(beside), *arguments]
