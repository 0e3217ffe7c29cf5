"""Reading a small file that somebody named: a pipe, a device or a huge one holds nobody up."""

import os
import stat

LIMIT = 64 * 1024  # bytes


def read(path: str, limit: int = LIMIT) -> str:
    """Return the text of a regular file.

    Raises ``OSError`` for what cannot be opened, and ``ValueError`` for what is not a regular file,
    has more than ``limit`` bytes or is not UTF-8.
    """
    # Without waiting: to open a pipe would last until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("It is not a regular file.")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"It has more than {limit} bytes.")
    return content.decode()
