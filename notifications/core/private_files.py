"""What the system keeps for itself is for its own user alone, also in a folder that was there."""

import os
import stat
from pathlib import Path

SECRETS = ("secret_key", "db.sqlite3", "db.sqlite3-wal", "db.sqlite3-shm")
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def keep(folder: Path) -> None:
    """Take a folder and its secrets from everybody but their owner: 0700 and 0600.

    What belongs to another user is left: only that user may change it, and ``open_to_others``
    names it. Raises ``OSError``.
    """
    for path in (folder, *(folder / name for name in SECRETS)):
        mode = _mode(path)
        if mode & OTHERS and path.stat().st_uid == os.geteuid():
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)


def open_to_others(folder: Path) -> list[Path]:
    """Name what others than the owner could still read or write."""
    return [path for path in (folder, *(folder / name for name in SECRETS)) if _mode(path) & OTHERS]


def _mode(path: Path) -> int:
    """Return the mode of a path, 0 where there is none."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return 0
