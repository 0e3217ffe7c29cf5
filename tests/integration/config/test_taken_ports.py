"""A port that is taken: each program says so in one line and ends, without a traceback."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import listening
from tests.servers.processes import ROOT

COMMAND = ("-m", "config.command")
HINTS = {"web": "GRANIAN_PORT", "flower": "FLOWER_PORT", "up": "make up PORT="}


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "variables", "options"),
    [
        ("web", {"GRANIAN_HOST": "127.0.0.1", "GRANIAN_PORT": "{port}"}, ()),
        ("web", {}, ("--host", "127.0.0.1", "--port", "{port}")),
        ("flower", {"FLOWER_ADDRESS": "127.0.0.1", "FLOWER_PORT": "{port}"}, ()),
        ("flower", {}, ("--address=127.0.0.1", "--port={port}")),
        ("smtp_server", {"SMTP_SERVER_PORT": "{port}"}, ()),
        ("smtp_server", {}, ("--port", "{port}")),
        ("up", {"PORT": "{port}"}, ()),
    ],
)
def test_a_program_whose_port_is_taken_says_so_in_a_line_and_ends(
    taken: int,
    tmp_path: Path,
    program: str,
    variables: dict[str, str],
    options: tuple[str, ...],
) -> None:
    given = {name: text.format(port=taken) for name, text in variables.items()}
    ended = subprocess.run(
        [sys.executable, *COMMAND, program, *(option.format(port=taken) for option in options)],
        cwd=ROOT,
        env=os.environ | {"VAR_DIR": str(tmp_path / "var"), "HTTPS": "0"} | given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert "isten on" in line
    assert str(taken) in line
    assert "ddress already in use" in line
    assert HINTS.get(program, "") in line


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", 0, ""),
        ("::1", 0, ""),
        ("192.0.2.1", 8000, "cannot listen on port 8000 of 192.0.2.1 (Cannot assign"),
        ("127.0.0.1", 70000, "cannot listen on port 70000"),
    ],
)
def test_where_nothing_can_listen_is_known_before_a_program_starts(
    host: str, port: int, said: str
) -> None:
    problem = listening.problem(host, port)
    assert problem.startswith(said)
    assert bool(problem) is bool(said)
