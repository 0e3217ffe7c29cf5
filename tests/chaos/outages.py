"""Servers that answer with errors or not at all for a while, as a full disk makes them do."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerProcess, suspended
from tests.servers.redis import RedisServer

SECONDS = 3.0
FULL = """
CREATE OR REPLACE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE disk_full USING MESSAGE = 'could not extend file'; END $$;
CREATE OR REPLACE TRIGGER disk_is_full BEFORE INSERT OR UPDATE ON notifications_notification
EXECUTE FUNCTION disk_is_full();
CREATE OR REPLACE TRIGGER disk_is_full BEFORE INSERT OR UPDATE ON notifications_attempt
EXECUTE FUNCTION disk_is_full();
"""


def out_of_memory(server: RedisServer) -> None:
    """Have a Redis refuse every write that needs memory."""
    with server.client() as client:
        client.config_set("maxmemory", 1)
        time.sleep(SECONDS)
        client.config_set("maxmemory", 0)


def replica(server: RedisServer) -> None:
    """Have a Redis follow a primary that is not there: it keeps its data, and refuses writes."""
    with server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        time.sleep(SECONDS)
        client.execute_command("REPLICAOF", "NO", "ONE")


def read_only(server: PostgresServer) -> None:
    """Have a Postgres refuse every write, in sessions that are open, too."""
    with _administrator(server) as run:
        run("ALTER SYSTEM SET default_transaction_read_only = on")
        run("SELECT pg_reload_conf()")
        time.sleep(SECONDS)
        run("ALTER SYSTEM RESET default_transaction_read_only")
        run("SELECT pg_reload_conf()")


def disk_full(server: PostgresServer) -> None:
    """Have a Postgres refuse what makes a table of ours grow."""
    with _administrator(server) as run:
        run(FULL)
        time.sleep(SECONDS)
        run("DROP FUNCTION disk_is_full CASCADE")


def locked(server: PostgresServer) -> None:
    """Have somebody lock a table of ours, as a migration would."""
    with psycopg.connect(server.url) as connection:
        connection.execute("LOCK TABLE notifications_notification IN ACCESS EXCLUSIVE MODE")
        time.sleep(SECONDS)


def silent(server: ServerProcess) -> None:
    """Have all of a server's processes stand still: it accepts connections, and answers nothing."""
    with suspended(server.pid):
        time.sleep(SECONDS)


@contextmanager
def _administrator(server: PostgresServer) -> Iterator[Callable[[str], object]]:
    with psycopg.connect(
        server.url, autocommit=True, options="-c default_transaction_read_only=off"
    ) as connection:
        yield connection.execute
