"""A command on a terminal of its own, as somebody who answers its questions."""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from tests.servers.processes import ROOT

SPAWN = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def answered(
    command: Iterable[str], answers: Iterable[tuple[str, str]], env: Mapping[str, str]
) -> str:
    """Run a command in the checkout, give each answer once its question is there, return the rest.

    Raises ``RuntimeError`` if the command fails, or ends before the last question.
    """
    process: Any = subprocess.Popen(
        [sys.executable, "-c", SPAWN, *command],
        cwd=ROOT,
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    said = ""
    for question, answer in answers:
        while question not in said:
            if not (more := process.stdout.read1()):
                raise RuntimeError(f"It ended before {question!r}: {said}")
            said += more.decode(errors="replace")
        said = said.partition(question)[2]
        process.stdin.write(f"{answer}\n".encode())
        process.stdin.flush()
    said += process.communicate()[0].decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"It ended with {process.returncode}: {said}")
    return str(said)
