"""The first page's numbers by server-sent events, for as long as somebody looks.

A stream holds a thread of the web process, and a process that is told to stop waits for it. So a
process has ``MOST`` at most, and each ends after ``LONGEST``: the browser then connects anew, and
is asked for its login anew. Whoever finds no place gets 503, and polls.
"""

import threading
import time
import weakref
from collections.abc import Callable, Iterator

from django.db import close_old_connections
from django.utils import timezone, translation

MOST = 4
LONGEST = 9.0  # seconds
EVERY = 3.0  # seconds between two events

_open: "weakref.WeakSet[Stream]" = weakref.WeakSet()
_lock = threading.Lock()


class Stream:
    """Yields an event with what ``render`` returns, again and again, in the viewer's zone."""

    def __init__(self, render: Callable[[], str]) -> None:
        self._render = render
        self._ends = time.monotonic() + LONGEST
        self._is_first = True
        self._zone, self._language = timezone.get_current_timezone(), translation.get_language()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        pause = 0.0 if self._is_first else EVERY
        if self not in _open or time.monotonic() + pause > self._ends:
            self.close()
            raise StopIteration
        time.sleep(pause)
        self._is_first = False
        close_old_connections()
        with timezone.override(self._zone), translation.override(self._language):
            lines = self._render().splitlines()
        return ("retry: 1000\n" + "".join(f"data: {line}\n" for line in lines) + "\n").encode()

    def close(self) -> None:
        """Leave its place to another."""
        with _lock:
            _open.discard(self)


def begin(render: Callable[[], str]) -> Stream | None:
    """Return a stream, or None if there are as many as may be."""
    with _lock:
        if len(_open) >= MOST:
            return None
        stream = Stream(render)
        _open.add(stream)
    return stream
