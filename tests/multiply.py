"""Many notifications at once, for tests and benchmarks that need a full table. Postgres only."""

from datetime import timedelta

from django.db import connection, models

from notifications.models import Notification

# UUID 7, as a notification of that time would have got (RFC 9562, 5.7), in order of ``n``.
_ID = """(lpad(to_hex((extract(epoch FROM created_at + n * %(apart)s) * 1000)::bigint), 12, '0')
    || '7' || substr(md5(n::text), 1, 3) || 'a' || substr(md5(n::text), 4, 15))::uuid"""


def multiply(row: Notification, count: int, apart: timedelta = timedelta(0)) -> None:
    """Insert ``count`` copies of a saved notification, each for a recipient of its own.

    The times of each are ``apart`` later than those of the copy before.
    """
    fields = Notification._meta.concrete_fields
    columns = ", ".join(str(field.column) for field in fields)
    values = ", ".join(map(_value, fields))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {Notification._meta.db_table} ({columns}) SELECT {values}"
            f" FROM {Notification._meta.db_table}, generate_series(1, %(count)s) n"
            " WHERE id = %(id)s",
            {"apart": apart, "count": count, "id": row.pk},
        )


def _value(field: "models.Field[object, object]") -> str:
    if field.primary_key:
        return _ID
    if isinstance(field, models.DateTimeField):
        return f"{field.column} + n * %(apart)s"
    if field.name == "recipient":
        return f"{field.column} || n"
    return str(field.column)
