"""Which process of a worker tells of an outage that all of its processes meet.

A worker's main process shares a little memory with the children that it forks. Who meets an outage
first takes the telling, and the others are silent; whoever first sees its end tells of that. So a
child that dies in between keeps nobody silent.
"""

import mmap
import os
import struct
import time

_FORMAT = struct.Struct("qd")  # who tells of the present outage, and when it was met last
_AGREED = 0.005
"""Seconds after which the last of those who took the telling at one moment is known to each."""
FORGOTTEN = 10.0
"""Seconds after which an outage that no process has met any more is another one."""


class Telling:
    """The telling of one server's outages: this process', unless it is shared."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | bytearray = bytearray(_FORMAT.size)

    def share(self) -> None:
        """Share it with the processes that this one forks from now on."""
        self._memory = mmap.mmap(-1, _FORMAT.size)

    def forget(self) -> None:
        """Forget who tells, as in a fork of a process that shares nothing with it."""
        if isinstance(self._memory, bytearray):
            self._write(0)

    def begin(self) -> bool:
        """Take the telling of an outage that was just met; return whether nobody else has it."""
        teller, met_at = self._read()
        if teller and time.monotonic() - met_at < FORGOTTEN:
            self.met()
            return False
        me = os.getpid()
        self._write(me)
        if isinstance(self._memory, mmap.mmap):
            time.sleep(_AGREED)
        return self._read()[0] == me

    def met(self) -> None:
        """Note that an outage goes on."""
        teller, _ = self._read()
        if teller:
            self._write(teller)

    def end(self) -> bool:
        """Note that an outage is over; return whether nobody has told so."""
        teller, _ = self._read()
        self._write(0)
        return bool(teller)

    def _read(self) -> tuple[int, float]:
        teller, met_at = _FORMAT.unpack_from(self._memory)
        return teller, met_at

    def _write(self, teller: int) -> None:
        _FORMAT.pack_into(self._memory, 0, teller, time.monotonic())
