"""A database in each state in which it answers with errors, or not at all."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg

from tests.servers.postgres import PostgresServer
from tests.servers.process import suspended

# What happens at each write of a notification, and of what a process asks with.
AT_A_WRITE = """
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; RETURN NULL; END $$;
CREATE TRIGGER trouble BEFORE INSERT OR UPDATE ON notifications_notification
EXECUTE FUNCTION trouble();
CREATE TRIGGER trouble BEFORE INSERT OR UPDATE ON scheduling_lease EXECUTE FUNCTION trouble();
"""
NO_TROUBLE = "DROP FUNCTION trouble CASCADE"
FULL = "RAISE disk_full USING MESSAGE = 'could not extend file: No space left'"
SENT = "SELECT count(*) FROM notifications_notification WHERE status = 'sent'"
READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = on"
WRITABLE = "ALTER SYSTEM RESET default_transaction_read_only"
LOCK = "LOCK TABLE notifications_notification IN ACCESS EXCLUSIVE MODE"


class Database:
    """A server with the tables of this project, to be put into each state by its superuser."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.superuser_url = server.url
        self.url = server.url.replace("postgres@", "app@")
        self.run(
            "CREATE ROLE app LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO app;"
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app"
        )

    def run(self, sql: str) -> None:
        writable = "-c default_transaction_read_only=off"
        with psycopg.connect(self._server.url, autocommit=True, options=writable) as connection:
            connection.execute(sql)

    def count(self, sql: str) -> int:
        with psycopg.connect(self._server.url) as connection:
            row = connection.execute(sql).fetchone()
        return int(row[0]) if row else 0

    def set(self, statement: str) -> None:
        """Change a setting of the server, for the sessions that there are, too."""
        self.run(statement)
        self.run("SELECT pg_reload_conf()")

    @contextmanager
    def state(self, begin: str, end: str) -> Iterator[None]:
        """Be in a state that is noticed with the first statement of a new session."""
        self.run(begin)
        self.end_sessions()
        yield
        self.run(end)

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Have each write take too long; what sessions are allowed they keep from their begin."""
        begin = AT_A_WRITE.format("PERFORM pg_sleep(60)")
        begin += "ALTER ROLE app SET statement_timeout = '1s'"
        with self.state(begin, f"{NO_TROUBLE}; ALTER ROLE app RESET statement_timeout"):
            yield
        self.end_sessions()

    def end_sessions(self) -> None:
        """End the sessions of our processes; the next ones have the settings of now."""
        self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Have a table locked by somebody, as a migration would."""
        with psycopg.connect(self._server.url) as connection:
            connection.execute(LOCK)
            yield

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Have all of the server's processes stand still; its kernel goes on."""
        with suspended(self._server.pid):
            yield


# What is done to the database, and undone; ``app`` is the role of our processes.
STATES: dict[str, Callable[[Database], AbstractContextManager[None]]] = {
    "it is read-only": lambda database: database.state(
        "ALTER ROLE app SET default_transaction_read_only = on",
        "ALTER ROLE app RESET default_transaction_read_only",
    ),
    "its disk is full": lambda database: database.state(AT_A_WRITE.format(FULL), NO_TROUBLE),
    # A write sleeps for longer, whatever the machine, and nothing else takes as long.
    "a statement took too long": Database.slow,
    "it has no connection left": lambda database: database.state(
        "ALTER ROLE app CONNECTION LIMIT 0",
        "ALTER ROLE app CONNECTION LIMIT -1",
    ),
    "a table is locked": Database.locked,
    "it does not answer at all": Database.silent,
}
