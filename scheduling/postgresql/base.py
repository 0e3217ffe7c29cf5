"""The module that Django looks for in a backend."""

from typing import Any

from django.db.backends.postgresql import base
from psycopg.rows import tuple_row

from scheduling.postgresql.patience import Connection, silence


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own, whose connections are patient with a server that lives, and only with that."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect. Raises ``ServerSilent`` at once where the server was silent a moment ago."""
        new = super().get_new_connection
        connection = silence.connect(lambda: new(conn_params))
        connection.__class__ = Connection
        _write_times_as_iso(connection)
        return connection

    def connect(self) -> None:
        """Connect, or leave no connection that is set up in part."""
        try:
            super().connect()
        except BaseException:
            if self.connection is not None:
                self.connection.close()
                self.connection = None
            raise

    def create_cursor(self, name: str | None = None) -> Any:
        """Make a cursor whose rows are tuples, whatever somebody set for the connection."""
        cursor = super().create_cursor(name)
        cursor.row_factory = tuple_row
        return cursor


def _write_times_as_iso(connection: Any) -> None:
    """Have the server write times as psycopg reads them, whatever its role or database says.

    Costs a statement where another ``DateStyle`` is set, and nothing elsewhere.
    """
    style = connection.info.parameter_status("DateStyle")
    if style is not None and not style.startswith("ISO"):
        with connection.transaction():
            connection.execute("SET datestyle TO ISO")
