"""The bar that a large batch shows to whoever waits for it at a terminal."""

import os
import pty
import subprocess
import sys
from contextlib import suppress

from tests.servers.processes import ROOT

SEND_FIFTY = """
import django
django.setup()
from notifications.submission import send_many
rows = ({"recipient": f"ada{n}"} for n in range(50))
submitted = send_many(rows, channel="simulator", body="x", progress=True)
print("accepted", submitted.accepted)
"""


def test_progress_is_shown_on_a_terminal(child_env: dict[str, str]) -> None:
    shown, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SEND_FIFTY],
        cwd=ROOT,
        env={**child_env, "DJANGO_SETTINGS_MODULE": "config.settings", "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.STDOUT,
    ) as process:
        os.close(terminal)
        output = b""
        with suppress(OSError):  # how a terminal tells that nobody writes any more
            while read := os.read(shown, 4096):
                output += read
        assert process.wait() == 0, output
    os.close(shown)
    assert b"accepting" in output
    assert b"50" in output.partition(b"accepting")[2].partition(b"accepted")[0]
    assert b"accepted 50" in output
