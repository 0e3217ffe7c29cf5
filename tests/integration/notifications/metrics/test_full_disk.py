"""A full disk below VAR_DIR costs figures, and nothing else."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

COUNT = """
import os, resource, sys
import django; django.setup()
from pathlib import Path
from prometheus_client import Counter, Gauge
from notifications.metrics import process_folders
if sys.argv[1] == "no file grows":
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
folder = process_folders.start("web")
from notifications.monitoring import exposition
counter = Counter("tried", "Tried.", ["n"])
counter.labels("0").inc()
if sys.argv[1] == "no descriptor":
    counter.labels("early").inc()
    spent = []
    try:
        while True:
            spent.append(os.dup(0))
    except OSError:
        os.close(spent.pop())  # it can be opened, and not mapped
    Gauge("late", "Of another file.").inc()
if sys.argv[1] == "full later":
    with open(folder.parent / "rest", "wb", buffering=0) as rest:
        try:
            while rest.write(b"x" * 4096):
                pass
        except OSError:
            pass
for n in range(3000):
    counter.labels(str(n)).inc()
if sys.argv[1] == "no descriptor":
    for descriptor in spent:
        os.close(descriptor)
assert exposition.exposed(with_state=False) is not None
print("alive")
"""


def count(var_dir: Any, how: Any) -> str:
    run = subprocess.run(
        [sys.executable, "-c", COUNT, how],
        env={"VAR_DIR": str(var_dir), "DJANGO_SETTINGS_MODULE": "config.settings", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == "alive", (run.returncode, run.stderr)
    return run.stderr + run.stdout


def test_a_process_counts_on_where_its_files_cannot_grow(tmp_path: Path) -> None:
    count(tmp_path, "no file grows")


def test_a_process_counts_on_where_it_has_no_descriptor_left(tmp_path: Path) -> None:
    said = count(tmp_path, "no descriptor")
    assert said.count("metrics_are_not_seen") == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Any]:
    """A disk of 256 kB. Skips where none can be mounted."""
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("needs to mount a small disk")
    yield tmp_path
    subprocess.run(["/bin/umount", tmp_path], check=True)


def test_a_process_counts_on_when_the_disk_is_full(small_disk: Any) -> None:
    count(small_disk, "full later")
