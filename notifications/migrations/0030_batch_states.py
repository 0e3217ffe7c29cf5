"""A batch's progress is counted from an index alone: a batch of a million in a tenth of a second."""

from importlib import import_module

from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import Q

AddIndexUnderLoad = import_module("notifications.migrations.0011_growth").AddIndexUnderLoad


class RemoveIndexUnderLoad(RemoveIndexConcurrently):
    """Remove an index on Postgres while others write; SQLite knows no such way."""

    def database_forwards(self, app, editor, old, new):
        """Remove it."""
        self._kind(editor).database_forwards(self, app, editor, old, new)

    def database_backwards(self, app, editor, old, new):
        """Add it again."""
        self._kind(editor).database_backwards(self, app, editor, old, new)

    def _kind(self, editor):
        on_postgres = editor.connection.vendor == "postgresql"
        return RemoveIndexConcurrently if on_postgres else migrations.RemoveIndex


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0029_traceparent")]

    operations = [
        AddIndexUnderLoad(
            model_name="notification",
            index=models.Index(
                condition=Q(("batch__isnull", False)),
                fields=["batch", "status"],
                name="notification_batch_state",
            ),
        ),
        # The one that begins the same; old code finds by the new one as well.
        RemoveIndexUnderLoad(model_name="notification", name="notification_batch"),
    ]
