"""Database triggers that keep a published version as it is, whichever way it is written.

``save()``, ``delete()``, ``.update()``, ``.delete()`` of a queryset, ``bulk_update`` and plain SQL
all pass through them: the models' own checks say it first and better, and see the first few alone.
They cost the writer one comparison per row, and code that is older runs beside them as before.
On SQLite ``manage.py flush`` empties tables by a plain DELETE: our command takes them away for it.
"""

from collections.abc import Iterator

from django.db.backends.base.base import BaseDatabaseWrapper

TABLE = "templates_engine_templateversion"
FROZEN = (
    *("id", "template_id", "number", "variants", "sample_context", "context_schema", "compiled"),
    *("required", "checksum"),
)
"""The columns that publishing freezes; the status may only go between published and archived."""
REFUSAL = "a version that was published keeps its content"

# (name, event, condition); OLD and NEW are the rows before and after.
Trigger = tuple[str, str, str]


def install(connection: BaseDatabaseWrapper) -> None:
    """Create the triggers, replacing any that are there."""
    remove(connection)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "CREATE FUNCTION templates_engine_refuse() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'check_violation'; END $$"
            )
        for name, event, condition in _triggers(connection.vendor):
            body = (
                "EXECUTE FUNCTION templates_engine_refuse()"
                if connection.vendor == "postgresql"
                else f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
            cursor.execute(
                f"CREATE TRIGGER {name} BEFORE {event} ON {TABLE} FOR EACH ROW "
                f"WHEN ({condition}) {body}"
            )


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers, if they are there."""
    on_table = f" ON {TABLE}" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        for name, _, _ in _triggers(connection.vendor):
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{on_table}")
        if connection.vendor == "postgresql":
            cursor.execute("DROP FUNCTION IF EXISTS templates_engine_refuse()")


def _triggers(vendor: str) -> Iterator[Trigger]:
    operator = "IS DISTINCT FROM" if vendor == "postgresql" else "IS NOT"
    changed = " OR ".join(f"OLD.{name} {operator} NEW.{name}" for name in FROZEN)
    yield (
        "templates_engine_version_updated",
        "UPDATE",
        f"OLD.status <> 'draft' AND (NEW.status = 'draft' OR {changed})",
    )
    yield "templates_engine_version_deleted", "DELETE", "OLD.status <> 'draft'"
