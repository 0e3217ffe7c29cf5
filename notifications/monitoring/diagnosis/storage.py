"""Settings, folder, database, migrations, clocks."""

import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from notifications.monitoring.diagnosis import locks
from notifications.monitoring.diagnosis.finding import Finding
from scheduling import watch
from scheduling.outages import LOCKED

SKEW = 2.0  # seconds
NO_SPACE = "folder.space"
LEAST_SPACE = 500 * 1024 * 1024  # bytes


def settings_errors() -> Iterator[Finding]:
    """Errors and warnings of Django's system checks, ours among them."""
    for message in checks.run_checks():
        if message.level >= checks.WARNING:
            cure = message.hint or "See the message."
            yield Finding(message.id or "check", message.msg, cure, message.level >= checks.ERROR)


def folder() -> Iterator[Finding]:
    """VAR_DIR can be written, and its disk has room."""
    place = Path(settings.VAR_DIR)
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding(
            "folder.write",
            f"{place} cannot be written by this user.",
            "Give it to the user that runs the processes (chown), or set VAR_DIR to another.",
        )
    elif (free := shutil.disk_usage(place).free) < LEAST_SPACE:
        yield Finding(
            NO_SPACE,
            f"The disk of {place} has {free // 2**20} MB left.",
            "Free some space: manage.py prune deletes what is finished and old."
            if connection.vendor == "sqlite"
            else "Free some space on that disk; VAR_DIR has counters and keys, not the database.",
        )


def database() -> Iterator[Finding]:
    """The database answers, and takes a write."""
    try:
        connection.ensure_connection()
    except (Error, ImproperlyConfigured) as error:
        yield Finding(
            "database.away",
            f"The database does not answer: {_first_line(error)}",
            "Check that it runs, and that DATABASE_URL names its host, port, user and name.",
        )
        return
    refusal = watch.refusal()
    if refusal and refusal.code == LOCKED:
        yield from locks.locked()
    elif refusal:
        yield Finding(
            "database.refuses",
            f"The database takes no write: {refusal.reason} ({refusal.code}).",
            "What is sent is refused or waits, and goes on by itself once the database takes "
            "writes again: end the read-only mode, free its disk or raise its limits, or let "
            "DATABASE_URL name the new primary (docs/operating.md).",
        )


def migrations() -> Iterator[Finding]:
    """Its tables are those of this code."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in plan[:3])
        yield Finding(
            "database.migrations",
            f"{len(plan)} migrations are not applied: {names}{', …' if len(plan) > 3 else ''}",
            "Run manage.py migrate, then restart web, workers and schedulers.",
        )
    if unknown := _unknown(executor):
        yield Finding(
            "database.newer",
            f"The database has migrations that this code does not know: {', '.join(unknown[:3])}",
            "Deploy the newer code here, or migrate back with the code that made them.",
        )


def _unknown(executor: MigrationExecutor) -> list[str]:
    known = executor.loader.disk_migrations
    ours = {app for app, _ in known}
    applied = executor.loader.applied_migrations
    replaced = {key for migration in known.values() for key in migration.replaces}
    return sorted(
        f"{app}.{name}"
        for app, name in applied
        if app in ours and (app, name) not in known and (app, name) not in replaced
    )


def clocks() -> Iterator[Finding]:
    """This machine and the database agree on the time."""
    if connection.vendor == "sqlite":
        return  # it has this machine's clock
    with connection.cursor() as cursor:
        asked = time.time()
        cursor.execute("SELECT clock_timestamp()")
        theirs = cursor.fetchone()[0]
    ours = datetime.fromtimestamp((asked + time.time()) / 2, UTC)
    yield from skew((theirs - ours).total_seconds())


def skew(seconds: float) -> Iterator[Finding]:
    """Judge how far the database's clock is ahead of ours."""
    if abs(seconds) > SKEW:
        yield Finding(
            "clock.skew",
            f"The database's clock is {abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}.",
            "Run NTP on both machines. Deliveries follow the database's clock; logs do not.",
            is_error=False,
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
