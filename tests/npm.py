"""Packages of npm's registry, each set fetched once and kept in this user's cache."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "notifications-tests"

UNREACHABLE = ("EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "ENOTFOUND", "ETIMEDOUT")


def fetched(*packages: str) -> Path:
    """Return a folder whose ``node_modules`` has these packages; skip without npm or its registry.

    Any other failure of npm is a failure of the test.
    """
    folder = CACHE / "npm" / "+".join(packages).replace("/", "_")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other processes of this run want the same
        if not folder.exists():
            _fetch(packages, folder)
    return folder


def _fetch(packages: tuple[str, ...], folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")
    with tempfile.TemporaryDirectory(dir=folder.parent) as begun:
        whole = Path(begun) / "whole"
        whole.mkdir()
        got = subprocess.run(
            [npm, "install", "--prefix", whole, "--no-audit", "--no-fund", *packages],
            cwd=whole,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if any(code in got.stderr for code in UNREACHABLE):
            pytest.skip("needs the npm registry, which cannot be reached")
        assert got.returncode == 0, got.stderr
        whole.rename(folder)
