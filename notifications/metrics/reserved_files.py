"""Files of counters whose space is reserved before it is used, so that a full disk ends nobody.

prometheus-client maps its files into memory. Where such a page has no space on the disk, a write to
it ends the process by SIGBUS, without an exception. Here what cannot be reserved is counted in the
process's own memory: nobody sees it, and everything else goes on.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import values
from prometheus_client.mmap_dict import _INITIAL_MMAP_SIZE, MmapedDict

log = structlog.get_logger(__name__)


def use() -> None:
    """Have the library keep its values here from now on."""
    values.MmapedDict = ReservedDict  # type: ignore[attr-defined]  # what it makes its files by


class ReservedDict(MmapedDict):
    """The library's file of values, as far as the disk has room for it."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:  # noqa: FBT001, FBT002 -- the library's signature
        self._unseen: dict[str, tuple[float, float]] = {}
        self._positions: dict[str, int] = {}
        self._f: Any = None
        try:
            if not read_mode:
                with Path(filename).open("a+b") as file:
                    _reserve(file.fileno(), _INITIAL_MMAP_SIZE)
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]  # the library's
        except OSError as error:
            if opened := vars(self).get("_f"):  # and could not be mapped
                opened.close()
                self._f = None
            if not read_mode:
                with suppress(OSError):  # an empty one could not be read
                    Path(filename).unlink()
            _log_once(error)

    def _init_value(self, key: str) -> None:
        """Give a key its place in the file, or in memory where the file cannot grow."""
        # The library doubles a file that is full; a key takes less than it has.
        if self._f is None or not self._may_grow(len(key.encode()) * 2 + 64):
            self._unseen[key] = (0.0, 0.0)
            return
        before = self._capacity
        try:
            super()._init_value(key)  # type: ignore[no-untyped-call]  # the library's
        except OSError as error:  # to map the file anew takes a descriptor
            self._capacity = before
            self._unseen[key] = (0.0, 0.0)
            _log_once(error)

    def _may_grow(self, needed: int) -> bool:
        if self._used + needed <= self._capacity:
            return True
        size = self._capacity
        while self._used + needed > size:
            size *= 2
        try:
            _reserve(self._f.fileno(), size)
        except OSError as error:
            _log_once(error)
            return False
        return True

    def read_value(self, key: str) -> tuple[float, float]:
        """Return a value and its time; zeros for a new key."""
        if key not in self._positions and key not in self._unseen:
            self._init_value(key)
        unseen = self._unseen.get(key)
        return super().read_value(key) if unseen is None else unseen  # type: ignore[no-untyped-call]  # the library's

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Keep a value."""
        if key not in self._positions and key not in self._unseen:
            self._init_value(key)
        if key in self._unseen:
            self._unseen[key] = (value, timestamp)
        else:
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]  # the library's

    def read_all_values(self) -> Iterator[tuple[str, float, float]]:
        """Return what the file has."""
        return iter(()) if self._f is None else super().read_all_values()  # type: ignore[no-untyped-call]  # the library's

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._f is not None:
            super().close()  # type: ignore[no-untyped-call]  # the library's


def _reserve(descriptor: int, size: int) -> None:
    """Have the disk keep room for a file. Raises ``OSError`` where it has none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, max(size, os.fstat(descriptor).st_size))


_told = False


def _log_once(error: OSError) -> None:
    global _told  # noqa: PLW0603 -- one line for a process
    if not _told:
        _told = True
        log.warning("metrics_are_not_seen", error=type(error).__name__, errno=error.errno)
