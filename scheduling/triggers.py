"""Database triggers that write down each changed schedule, whichever way it was changed.

``save()``, ``bulk_create()``, ``.update()`` and plain SQL all pass through them; Django's signals
see only the first. They cost the writer one insert, and no lock that another writer waits for.
"""

from collections.abc import Iterator

from django.db.backends.base.base import BaseDatabaseWrapper

TASK = "django_celery_beat_periodictask"
WATCHED = (
    "enabled",
    "interval_id",
    "crontab_id",
    "solar_id",
    "clocked_id",
    "start_time",
    "expires",
    "one_off",
    # Not its timing, but a change to them ends a quarantine.
    "task",
    "args",
    "kwargs",
    "headers",
    "queue",
    "exchange",
    "routing_key",
    "priority",
    "expire_seconds",
)
POLICY = (
    "jitter_seconds",
    # As above.
    "misfire",
    "misfire_cap",
    "grace_seconds",
    "overlap",
    "guarantee",
    "timeout_seconds",
    "max_retries",
    "retry_backoff_seconds",
    "condition",
)
RULES = {
    "interval": ("every", "period"),
    "crontab": ("minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone"),
    "solar": ("event", "latitude", "longitude"),
    "clocked": ("clocked_time",),
}

NOTE = "INSERT INTO scheduling_change (periodic_task_id, changed_at)"

# (name, "<event> ON <table>", condition, statements); OLD and NEW are the rows before and after.
Trigger = tuple[str, str, str, tuple[str, ...]]


def install(connection: BaseDatabaseWrapper) -> None:
    """Create the triggers, replacing any that are there.

    Raises ``NotImplementedError`` on a database that is neither PostgreSQL nor SQLite.
    """
    if connection.vendor not in {"postgresql", "sqlite"}:
        raise NotImplementedError(
            f"No triggers are known for {connection.vendor}; use PostgreSQL or SQLite."
        )
    remove(connection)
    with connection.cursor() as cursor:
        for name, event, condition, statements in _triggers(connection.vendor):
            body = "; ".join(statements)
            if connection.vendor == "sqlite":
                cursor.execute(
                    f"CREATE TRIGGER {name} AFTER {event} FOR EACH ROW {condition} "
                    f"BEGIN {body}; END"
                )
            else:
                cursor.execute(
                    f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                    f"$$ BEGIN {body}; RETURN NULL; END $$"
                )
                cursor.execute(
                    f"CREATE TRIGGER {name} AFTER {event} FOR EACH ROW {condition} "
                    f"EXECUTE FUNCTION {name}()"
                )


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers, if they are there."""
    with connection.cursor() as cursor:
        for name, event, _, _ in _triggers(connection.vendor):
            table = event.rpartition(" ")[2]
            if connection.vendor == "postgresql":
                cursor.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}")
                cursor.execute(f"DROP FUNCTION IF EXISTS {name}()")
            else:
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")


def note_every_task(connection: BaseDatabaseWrapper) -> None:
    """Write a change for each schedule that exists, so that the schedulers learn of it."""
    now = _now(connection.vendor)
    with connection.cursor() as cursor:
        cursor.execute(f"{NOTE} SELECT id, {now} FROM {TASK}")  # noqa: S608 -- constants


def _triggers(vendor: str) -> Iterator[Trigger]:
    now = _now(vendor)
    yield ("scheduling_task_inserted", f"INSERT ON {TASK}", "", (f"{NOTE} VALUES (NEW.id, {now})",))
    yield (
        "scheduling_task_updated",
        f"UPDATE OF {', '.join(WATCHED)} ON {TASK}",
        _differs(WATCHED, vendor),
        (f"{NOTE} VALUES (NEW.id, {now})",),
    )
    yield (
        "scheduling_task_deleted",
        f"DELETE ON {TASK}",
        "",
        (
            "DELETE FROM scheduling_fire WHERE schedule_id = OLD.id",
            "DELETE FROM scheduling_schedule WHERE periodic_task_id = OLD.id",
        ),
    )
    yield (
        "scheduling_policy_updated",
        f"UPDATE OF {', '.join(POLICY)} ON scheduling_schedule",
        _differs(POLICY, vendor),
        (f"{NOTE} VALUES (NEW.periodic_task_id, {now})",),
    )
    yield (
        "scheduling_policy_deleted",
        "DELETE ON scheduling_schedule",
        "",
        (f"{NOTE} VALUES (OLD.periodic_task_id, {now})",),
    )
    for kind, columns in RULES.items():
        yield (
            f"scheduling_{kind}_updated",
            f"UPDATE OF {', '.join(columns)} ON django_celery_beat_{kind}schedule",
            _differs(columns, vendor),
            (f"{NOTE} SELECT id, {now} FROM {TASK} WHERE {kind}_id = NEW.id",),  # noqa: S608 -- our own words and placeholders
        )


def _differs(columns: tuple[str, ...], vendor: str) -> str:
    operator = "IS DISTINCT FROM" if vendor == "postgresql" else "IS NOT"
    return "WHEN (" + " OR ".join(f"OLD.{name} {operator} NEW.{name}" for name in columns) + ")"


def _now(vendor: str) -> str:
    return "clock_timestamp()" if vendor == "postgresql" else "strftime('%Y-%m-%d %H:%M:%f', 'now')"
