"""``manage.py flush``: whoever empties the whole database means the audit log, too."""

from typing import Any

from django.db import connections

from config.audit.triggers import MAY_PRUNE
from templates_engine.management.commands import flush


class Command(flush.Command):
    """Empties the database, past what keeps the audit log."""

    def handle(self, **options: Any) -> None:
        """Empty the database as Django does."""
        connection = connections[options["database"]]
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config(%s, 'on', false)", [MAY_PRUNE])
        super().handle(**options)
