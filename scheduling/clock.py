"""The database's clock: the one that all machines share."""

from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

_moved = timedelta()  # by a test


def database_now() -> datetime:
    """Return the database's time, aware. SQLite runs on this machine, so its clock is ours."""
    if connection.vendor != "postgresql":
        return timezone.now() + _moved
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row: tuple[datetime] = cursor.fetchone()
    return row[0] + _moved


def move(by: timedelta) -> None:
    """Have this process's tests live so much later than the database."""
    global _moved  # noqa: PLW0603 -- one clock per process
    _moved = by
