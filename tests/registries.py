"""Packages of npm's registry and of PyPI, each set fetched once and kept in this user's cache."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "notifications-tests"

# What a client says of a registry that cannot be reached.
_UNREACHABLE = {
    "npm": (*("EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "ENOTFOUND", "ETIMEDOUT"),),
    "pypi": (
        *("ConnectTimeoutError", "NewConnectionError", "ProtocolError", "ReadTimeoutError"),
        "NameResolutionError",
    ),
}


def npm(*packages: str) -> Path:
    """Return a folder whose ``node_modules`` has these packages; skip without npm or its registry.

    Any other failure of npm is a failure of the test.
    """
    program = shutil.which("npm")
    if program is None:
        pytest.skip("needs npm")
    return _fetched(
        "npm",
        packages,
        lambda into: [program, "install", "--prefix", into, "--no-audit", "--no-fund", *packages],
    )


def pypi(*packages: str) -> Path:
    """Return a folder that has these packages, without what they need; skip without PyPI.

    They are not in the lock: a large one that a single test runs as a program of its own. Any
    other failure of pip is a failure of the test.
    """
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "1"]
    return _fetched(
        "pypi",
        packages,
        lambda into: [*pip, "install", "--no-deps", "--no-compile", "--target", into, *packages],
    )


def _fetched(
    registry: str, packages: tuple[str, ...], command: Callable[[Path], list[str | Path]]
) -> Path:
    folder = CACHE / registry / "+".join(packages).replace("/", "_")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other processes of this run want the same
        if not folder.exists():
            _fetch(registry, folder, command)
    return folder


def _fetch(registry: str, folder: Path, command: Callable[[Path], list[str | Path]]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as begun:
        whole = Path(begun) / "whole"
        whole.mkdir()
        got = subprocess.run(
            command(whole), cwd=whole, capture_output=True, text=True, check=False, timeout=120
        )
        if any(code in got.stderr for code in _UNREACHABLE[registry]) and got.returncode:
            pytest.skip(f"needs the registry {registry}, which cannot be reached")
        assert got.returncode == 0, got.stderr
        whole.rename(folder)
