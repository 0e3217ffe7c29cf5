"""A PgBouncer in transaction mode, in front of a Postgres that trusts loopback."""

import os
import pwd
import shutil
from urllib.parse import urlsplit

import psycopg

from tests.servers.postgres import unprivileged_user
from tests.servers.process import ServerProcess
from tests.servers.reaper import temporary_folder

MISSING = "PgBouncer is not here: apt-get install pgbouncer"

CONFIGURATION = """
[databases]
* = host={host} port={backend_port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
query_wait_timeout = {query_wait}
"""


def pgbouncer_binary() -> str | None:
    """The machine's PgBouncer, if it has one; Debian keeps it where only root looks."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class PgBouncer(ServerProcess):
    """Shares ``connections`` to the server of this URL among its clients.

    A client waits ``query_wait`` seconds for one of them.

    Raises FileNotFoundError where no PgBouncer is installed.
    """

    def __init__(self, database_url: str, connections: int, query_wait: int = 120) -> None:
        binary = pgbouncer_binary()
        if binary is None:
            raise FileNotFoundError(MISSING)
        user = unprivileged_user()  # like Postgres it does not run as root
        super().__init__(temporary_folder("pgbouncer"), user)
        self._binary = binary
        self._backend = urlsplit(database_url)
        configuration = CONFIGURATION.format(
            host=self._backend.hostname,
            backend_port=self._backend.port,
            user=self._backend.username,
            port=self.port,
            connections=connections,
            query_wait=query_wait,
        )
        (self.folder / "pgbouncer.ini").write_text(configuration)
        if user:
            os.chown(self.folder, pwd.getpwnam(user).pw_uid, -1)

    @property
    def url(self) -> str:
        name = self._backend.username
        return f"postgres://{name}@127.0.0.1:{self.port}{self._backend.path}"

    def command(self) -> list[str]:
        return [self._binary, str(self.folder / "pgbouncer.ini")]

    def is_ready(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=5) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True
