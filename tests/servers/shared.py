"""What a run makes once, however many processes it has: folders to copy from."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from tests.servers.reaper import temporary_folder

VARIABLE = "TESTS_SHARED"  # the folder; the run's first process sets it, and the others inherit it


def shared_folder() -> Path:
    """Return the folder that all processes of this run have in common."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = str(temporary_folder("shared"))
    return Path(os.environ[VARIABLE])


def once(name: str, make: Callable[[], Path]) -> Path:
    """Return what ``make`` returned in the first of the run's processes that asked for ``name``.

    The others wait for it. What was made is moved here, and so stays if that process ends earlier.
    """
    made = shared_folder() / name
    with (shared_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make().rename(made)
    return made
