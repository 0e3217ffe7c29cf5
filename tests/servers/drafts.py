"""A process that has imported what builds drafts, and forks for each: a tenth of the time.

``templates_engine.isolated`` executes a Python for each draft that the tests of pages and of the
API save; most of its time goes into imports. What is forked here does the same from there on, under
the same limits; that it gets none of our environment is tested with one that is executed
(``tests/unit/templates_engine/test_isolated.py``).
"""

import functools
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from templates_engine import isolated
from tests.servers.reaper import temporary_folder

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", isolated.__name__]


class Drafts:
    """The tests' end."""

    TimeoutExpired = subprocess.TimeoutExpired

    def __init__(self) -> None:
        self._address = str(temporary_folder("drafts") / "socket")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self._address)
            listening.listen()
            number = listening.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(number)],
                cwd=ROOT,
                env=isolated.child_environment(),
                stdin=subprocess.PIPE,  # it ends with ours
                pass_fds=[number],
                start_new_session=True,
            )

    def run(self, command: list[str], **options: Any) -> "subprocess.CompletedProcess[bytes]":
        """Answer as ``subprocess.run`` does."""
        assert command == COMMAND
        timeout, said = options["timeout"], b""
        with socket.socket(socket.AF_UNIX) as child:
            child.settimeout(timeout)
            child.connect(self._address)
            try:
                child.sendall(options["input"])
                child.shutdown(socket.SHUT_WR)
                while some := child.recv(1 << 16):
                    said += some
            except TimeoutError:
                raise subprocess.TimeoutExpired(command, timeout) from None
            except ConnectionError:  # it was ended as it read
                said = b""
        ended_well = said.endswith(b"\n")
        return subprocess.CompletedProcess(command, 0 if ended_well else 1, said, b"")


@functools.cache
def drafts() -> Drafts:
    """Return this run's, started when it is first needed."""
    return Drafts()


def _serve(listening: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        readable, _, _ = select.select([listening.fileno(), 0], [], [])
        if 0 in readable:
            return
        asked, _ = listening.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listening.close()
            for number in (0, 1):
                os.dup2(asked.fileno(), number)
            asked.close()
            isolated._main()
            sys.stdout.write("\n")  # says that it has come to its end
            sys.stdout.flush()
            os._exit(0)
        asked.close()


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
