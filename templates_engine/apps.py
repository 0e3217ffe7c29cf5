"""The Django app of the template engine, and what it connects when Django starts."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class TemplatesEngineConfig(AppConfig):
    """The app ``templates_engine``."""

    name = "templates_engine"
    verbose_name = "templates"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Keep the triggers through migrations."""
        post_migrate.connect(_renew_triggers, sender=self)


def _renew_triggers(*, using: str, **_: Any) -> None:
    """On SQLite a migration that changes a table makes another, and drops its triggers."""
    from templates_engine import triggers

    connection = connections[using]
    exists = triggers.TABLE in connection.introspection.table_names()
    if exists and connection.vendor == "sqlite":
        triggers.install(connection)
