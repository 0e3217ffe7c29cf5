"""What the system keeps for itself is for its own user alone, also in a folder that was there.

A folder of somebody else's is left as it is.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

MARK = ".notifications"  # an empty file: the folder is this system's
SECRETS = ("secret_key", "db.sqlite3", "db.sqlite3-wal", "db.sqlite3-shm")
OWN_NAMES = frozenset(
    {MARK, *SECRETS, "db.sqlite3-journal", "broker", "broker.sock", "metrics", "up.lock"}
)
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class NotOwnFolder(Exception):
    """A folder is another user's, or has files that this system did not write."""


def make(folder: Path) -> None:
    """Make a folder that an operator named, or take the one that is there: see ``keep``.

    Raises ``OSError``.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keep(folder)


def make_default(folder: Path) -> None:
    """Make a folder that nobody named. Raises ``NotOwnFolder`` and ``OSError``.

    One that is there is taken where it is this user's, and empty or used by this system before.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid() or not _is_own(folder):
        raise NotOwnFolder
    with suppress(OSError):  # a full disk costs figures, and nothing else
        (folder / MARK).touch(mode=0o600)
        give_to_owner(folder / MARK, folder)
    keep(folder)


def keep(folder: Path) -> None:
    """Take a folder and its secrets from everybody but their owner: 0700 and 0600.

    What belongs to another user is left, for only that user may change it, and so is a folder
    that holds files of others: ``open_to_others`` names it. Raises ``OSError``.
    """
    secrets = [folder / name for name in SECRETS]
    for path in [folder, *secrets] if _is_own(folder) else secrets:
        mode = _mode(path)
        if mode & OTHERS and path.stat().st_uid == os.geteuid():
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)


def give_to_owner(path: Path, folder: Path) -> None:
    """Let what root made belong to whom a folder belongs: the service, which runs as that user.

    Operators run commands as root. Raises ``OSError``.
    """
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def open_to_others(folder: Path) -> list[Path]:
    """Name what others than the owner could still read or write."""
    return [path for path in (folder, *(folder / name for name in SECRETS)) if _mode(path) & OTHERS]


def _is_own(folder: Path) -> bool:
    """Tell whether a folder is marked, or holds nothing that this system did not write."""
    names = {path.name for path in folder.iterdir()}
    return MARK in names or names <= OWN_NAMES


def _mode(path: Path) -> int:
    """Return the mode of a path, 0 where there is none."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return 0
