"""Whether the database has the tables of this code, and waiting until it has."""

import pkgutil
import time
from collections.abc import Iterator
from importlib.util import find_spec

import structlog
from django.apps import AppConfig, apps
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

log = structlog.get_logger(__name__)

ASK_EVERY = 1.0  # seconds


def missing() -> list[str]:
    """Return the migrations of this code that are not applied, like ``notifications.0027_mails``.

    Migrations of newer code that this code does not know are no hindrance. Raises what the
    database answers.
    """
    applied = MigrationRecorder(connection).applied_migrations()
    if all(key in applied for app in apps.get_app_configs() for key in _on_disk(app)):
        return []  # the usual case, told by the names of files: no migration is imported
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def wait_for_migrations() -> None:
    """Return once the database has the tables of this code, or if it does not answer.

    A process of new code that worked on old tables would fail with each message that it takes:
    so it takes none. What begins and what ends the wait is said once each.
    """
    said = False
    while names := _missing_or_none():
        if not said:
            log.error(
                "database_behind",
                missing=len(names),
                migrations=names[:3],
                cure="run manage.py migrate; until then nothing is taken",
            )
            said = True
        connection.close()  # nothing is held open meanwhile
        time.sleep(ASK_EVERY)
    if said:
        log.warning("database_migrated")


def _missing_or_none() -> list[str]:
    try:
        return missing()
    except Error:
        return []  # a database that is away is waited for by whoever needs it


def _on_disk(app: AppConfig) -> Iterator[tuple[str, str]]:
    module, _ = MigrationLoader.migrations_module(app.label)
    spec = find_spec(module) if module else None
    if spec is None or app.models_module is None:
        return
    for migration in pkgutil.iter_modules(spec.submodule_search_locations):
        if migration.name[0] not in "_~":
            yield app.label, migration.name
