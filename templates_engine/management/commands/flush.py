"""Django's ``flush``, which on SQLite deletes row by row what a trigger keeps."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from templates_engine import triggers


class Command(flush.Command):
    """``manage.py flush``: whoever empties the whole database means published versions, too."""

    def handle(self, **options: Any) -> None:
        """Empty the database as Django does."""
        connection = connections[options["database"]]
        if connection.vendor != "sqlite":
            super().handle(**options)
            return
        triggers.remove(connection)
        try:
            super().handle(**options)
        finally:
            triggers.install(connection)
