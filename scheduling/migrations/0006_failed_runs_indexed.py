"""Indexes of what failed, built beside those who write to the ledger."""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class AddIndexUnderLoad(AddIndexConcurrently):
    """Add an index on Postgres while others write; SQLite knows no such way."""

    def database_forwards(self, app: Any, editor: Any, old: Any, new: Any) -> None:
        """Add it."""
        _kind(editor).database_forwards(self, app, editor, old, new)

    def database_backwards(self, app: Any, editor: Any, old: Any, new: Any) -> None:
        """Remove it."""
        _kind(editor).database_backwards(self, app, editor, old, new)


def _kind(editor: Any) -> type[migrations.AddIndex]:
    is_postgres = editor.connection.vendor == "postgresql"
    return AddIndexConcurrently if is_postgres else migrations.AddIndex


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [
        ('scheduling', '0005_failed_runs'),
    ]

    operations = [
        AddIndexUnderLoad(
            model_name='fire',
            index=models.Index(condition=models.Q(models.Q(('cause', ''), _negated=True), ('resolved_at__isnull', True)), fields=['cause', 'finished_at'], name='scheduling_fire_failed'),
        ),
        AddIndexUnderLoad(
            model_name='schedule',
            index=models.Index(condition=models.Q(('failed_in_a_row__gt', 0)), fields=['failed_in_a_row'], name='scheduling_failing'),
        ),
        AddIndexUnderLoad(
            model_name='schedule',
            index=models.Index(condition=models.Q(('skipped_in_a_row__gt', 0)), fields=['skipped_in_a_row'], name='scheduling_skipping'),
        ),
    ]
