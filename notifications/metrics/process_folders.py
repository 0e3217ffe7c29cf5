"""Where a process tree counts: a folder of its own, held by a lock that dies with it.

A web process, a worker with its children, or a scheduler takes the first free slot of its role
(``worker-0``, ``worker-1``, …) under VAR_DIR/metrics and wipes it. Any other process that counts
takes one as ``producer``. The name of the slot becomes a label, so that a restart resets its own
series and nobody else's.
"""

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import structlog
from django.conf import settings
from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

from notifications.core import private_files
from notifications.metrics import reserved_files

log = structlog.get_logger(__name__)

PRODUCER = "producer"
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # the library's name

_held: list[int] = []  # file descriptors of our lock, kept open for life


def start(role: str) -> Path | None:
    """Take a slot for this process and the children that it will have; return its folder.

    Where VAR_DIR cannot be written, as on a full disk, it counts in its own memory, where nobody
    looks, and the log says so.
    """
    if _held:
        raise RuntimeError("Something was counted before the process had a slot to count in.")
    try:
        return _take(role)
    except OSError as error:
        log.warning("metrics_are_not_seen", error=type(error).__name__, errno=error.errno)
        return None


def _take(role: str) -> Path:
    root = _root()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock, descriptor = _free_slot(root, role)
    _held.append(descriptor)
    folder = lock.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    for path in (root, lock, folder):
        private_files.give_to_owner(path, root.parent)
    os.environ[VARIABLE] = str(folder)
    reserved_files.use()
    # The library looked for the variable when it was imported, which may be long ago: Celery's
    # command line imports Flower, and Flower imports it.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]  # the library's
    return folder


def _free_slot(root: Path, role: str) -> tuple[Path, int]:
    """Lock the first slot of a role that nobody holds; return its file and the descriptor."""
    for number in count():
        lock = root / f"{role}-{number}.lock"
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError:
            if lock.exists():  # another user's, who ran a command here
                continue
            raise
        if _locked(descriptor):
            break
        os.close(descriptor)
    return lock, descriptor


def ensure() -> None:
    """Take a slot as a producer, unless this process has one, or counts in a folder of its own."""
    place = os.environ.get(VARIABLE)
    inherited = place and Path(f"{place}.lock").exists()  # from a process of ours that started it
    if not _held and (inherited or not place):
        start(PRODUCER)


def alive() -> Iterator[Path]:
    """Return the folders of the slots that a living process holds."""
    for lock in sorted(_root().glob("*.lock")):
        folder = lock.with_suffix("")
        try:
            is_alive = folder.is_dir() and _is_held(lock)
        except PermissionError:  # of a process that another user ran
            log.warning("metrics_of_another_user", process=folder.name)
            continue
        if is_alive:
            _forget_dead_children(folder)
            yield folder


def _root() -> Path:
    return Path(settings.VAR_DIR) / "metrics"


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_held(lock: Path) -> bool:
    """Try it shared, so that two who look at once do not take each other for its holder."""
    descriptor = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _forget_dead_children(folder: Path) -> None:
    """Drop what only the living have: a child that was killed holds no slot any more.

    Nobody tells when a child is killed, so whoever reads asks which are alive.
    """
    for file in folder.glob("gauge_live*.db"):
        found = re.search(r"_(\d+)\.db$", file.name)
        if found and not _is_alive(int(found[1])):
            with contextlib.suppress(FileNotFoundError):  # somebody else who read was quicker
                mark_process_dead(int(found[1]), str(folder))  # type: ignore[no-untyped-call]  # the library's


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
