"""Whether sessions of the test's database wait for one another."""

from django.db import connection


def a_lock_is_awaited() -> bool:
    """Tell whether a session waits for a lock that another has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        row = cursor.fetchone()
    return bool(row and row[0])


def end_session(pid: int) -> None:
    """End another session of the test's database, as its server would."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    connection.close()
