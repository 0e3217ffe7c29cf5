"""Many notifications at once, for tests and benchmarks that need a full table."""

from datetime import timedelta

from django.db import connection, models

from notifications.db import dialect
from notifications.models import Notification

# UUID 7, as a notification of that time would have got (RFC 9562, 5.7); on SQLite just an id.
_ID = {
    "postgresql": """(
        lpad(to_hex((1000 * extract(epoch FROM created_at + n * %(apart)s::interval))::bigint),
            12, '0')
        || '7' || substr(md5(n::text), 1, 3) || 'a' || substr(md5(n::text), 4, 15))::uuid""",
    "sqlite": "lower(hex(randomblob(16)))",
}


def multiply(row: Notification, count: int, apart: timedelta = timedelta(0)) -> None:
    """Insert ``count`` copies of a saved notification, each for a recipient of its own.

    The times of each are ``apart`` later than those of the copy before; Postgres only.
    """
    fields = Notification._meta.concrete_fields
    columns = ", ".join(str(field.column) for field in fields)
    values = ", ".join(_value(field, shifted=bool(apart)) for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {Notification._meta.db_table} ({columns})"
            " WITH RECURSIVE numbers(n) AS"
            " (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %(count)s)"
            f" SELECT {values} FROM {Notification._meta.db_table}, numbers WHERE id = %(id)s",
            {"apart": str(apart), "count": count, "id": dialect.write(row.pk)},
        )


def _value(field: "models.Field[object, object]", *, shifted: bool) -> str:
    if field.primary_key:
        return _ID[connection.vendor]
    if shifted and isinstance(field, models.DateTimeField):
        return f"{field.column} + n * %(apart)s::interval"
    if field.name == "recipient":
        return f"{field.column} || n"
    return str(field.column)
