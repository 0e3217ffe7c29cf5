"""Web, worker, scheduler, Flower and the SMTP server as children of one process, under honcho."""

import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from types import FrameType
from typing import Any

import honcho.manager
import honcho.process

from config import processes

BIN = Path(sys.executable).parent
BY_REQUEST = {128 + signal.SIGINT, 128 + signal.SIGTERM}


class Child(honcho.process.Process):  # type: ignore[misc]  # honcho has no types
    """A process that ends when its parent ends, even if that was killed with SIGKILL."""

    def run(self, events: object = None, ignore_signals: object = None) -> None:
        """Run the command, and end it when the parent process ends."""
        threading.Thread(target=self._follow_parent, daemon=True).start()
        super().run(events, ignore_signals)

    def _follow_parent(self) -> None:
        if parent := parent_process():
            wait_for([parent.sentinel])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGTERM)


class System(honcho.manager.Manager):  # type: ignore[misc]  # honcho has no types
    """Runs the processes until one of them ends or a signal comes; then stops all.

    What has not ended ``kill_after`` seconds later is killed. A second signal is passed on: it
    makes the worker hurry.
    """

    def __init__(self, env: dict[str, str], *, kill_after: float) -> None:
        super().__init__()
        honcho.manager.KILL_WAIT = kill_after
        self._process_ctor = Child
        for name, (program, *arguments) in {
            "web": processes.WEB,
            "worker": processes.WORKER,
            "beat": processes.BEAT,
            "flower": processes.FLOWER,
            "smtp": processes.SMTP,
        }.items():
            command = shlex.join([str(BIN / program), *arguments])
            self.add_process(name, f"exec {command}", env=os.environ | env)

    def run(self, *beside: Callable[[], None]) -> bool:
        """Run until all have ended. False if one of them ended without being asked to.

        Each of ``beside`` is called in a thread of its own, once they are started.
        """
        # A closed terminal must not leave them behind.
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        self._beside = [threading.Thread(target=call, daemon=True) for call in beside]
        self.loop()
        return self.returncode in BY_REQUEST

    def _start(self) -> None:
        super()._start()
        self._pass_a_second_signal_on()
        for thread in self._beside:
            thread.start()  # only now: a fork copies a thread's locks, but not the thread

    def _pass_a_second_signal_on(self) -> None:
        """Send SIGTERM again at each further signal; honcho would ignore it."""

        def receive(number: int, frame: FrameType | None) -> None:
            if self._terminating:
                self._killall()
            else:
                stop[number](number, frame)

        stop: dict[int, Any] = {
            number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)
        }

    def terminate(self) -> None:
        """Stop all; a signal that comes while they are being started waits for a moment."""
        if self._all_started():
            super().terminate()
        else:
            threading.Timer(0.1, self.terminate).start()
