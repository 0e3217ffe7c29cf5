"""``manage.py status`` on a terminal: a screen that renews itself until somebody leaves it."""

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from notifications.models import Notification
from tests.servers.process import wait_until
from tests.servers.processes import ROOT


@pytest.mark.usefixtures("transactional_db")
def test_the_screen_shows_what_happens_while_it_is_looked_at(
    child_env: dict[str, str], accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    shown, terminal = pty.openpty()
    output = bytearray()

    def read() -> None:
        try:
            while got := os.read(shown, 4096):
                output.extend(got)
        except OSError:  # how a terminal tells that nobody writes any more
            return

    with subprocess.Popen(
        [sys.executable, "manage.py", "status"],
        cwd=ROOT,
        env={**child_env, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.STDOUT,
    ) as process:
        os.close(terminal)
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        wait_until(lambda: b"0 open" in output)
        deliver(accepted(recipient="ada?result=permanent"))
        wait_until(lambda: b"1 open" in output)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0, bytes(output[-2000:])
        reader.join(10)
    os.close(shown)
