"""The file descriptors of a process: a connection needs one or two, and the system limits them."""

import errno
import os
import resource

WANTED = 65_536
"""As many as the unit of systemd in ``deploy`` asks for."""


OF_A_CONNECTION = 5
"""As many as libcurl uses at most while it connects: sockets, their copies, events."""


def raise_limit() -> None:
    """Have this process, and those that it starts, use what the system allows it.

    A shell gives a process 1,024 at first, of which a few hundred kept connections leave none.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def check() -> None:
    """Try whether a connection finds enough of them. Raises ``OSError`` where it does not."""
    opened: list[int] = []
    try:
        for _ in range(OF_A_CONNECTION):
            opened.append(os.open(os.devnull, os.O_RDONLY))  # noqa: PERF401 -- what was opened is closed
    finally:
        for descriptor in opened:
            os.close(descriptor)


def are_spent(error: BaseException | None) -> bool:
    """Return whether an error, or what caused it, says that no descriptor is left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        error = error.__cause__
    return False
