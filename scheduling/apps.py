from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class SchedulingConfig(AppConfig):
    name = "scheduling"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from scheduling import execution

        execution.connect()
        post_migrate.connect(_renew_triggers, sender=self)


def _renew_triggers(*, using: str, **_: Any) -> None:
    """Make the triggers anew: SQLite drops them when a later migration rebuilds a table."""
    from scheduling import triggers

    connection = connections[using]
    if connection.vendor == "sqlite" and _is_installed(connection):
        triggers.install(connection)


def _is_installed(connection: Any) -> bool:
    return "scheduling_change" in connection.introspection.table_names()
