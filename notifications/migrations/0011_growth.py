"""What a large table needs: its list by time, no index twice, and a vacuum that keeps up."""

from typing import Any

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

# Each notification leaves two dead versions of its row, and claims walk over them until a vacuum,
# which reads every index of the whole table. A tenth costs about as much by the one as by the
# other in a table of ten million; the default is a fifth, and at a fiftieth vacuums cost most.
AUTOVACUUM = {
    "notifications_notification": {
        "autovacuum_vacuum_scale_factor": "0.1",
        "autovacuum_vacuum_threshold": "5000",
        "autovacuum_analyze_scale_factor": "0.05",
    },
    # Inserted once, deleted once: what matters is that old pages are known to be all visible.
    "notifications_attempt": {
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_vacuum_insert_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.05",
    },
}


class AddIndexUnderLoad(AddIndexConcurrently):
    """Add an index on Postgres while others write; SQLite knows no such way."""

    def database_forwards(self, app: Any, editor: Any, old: Any, new: Any) -> None:
        """Add it."""
        kind = AddIndexConcurrently if _is_postgres(editor) else migrations.AddIndex
        kind.database_forwards(self, app, editor, old, new)

    def database_backwards(self, app: Any, editor: Any, old: Any, new: Any) -> None:
        """Remove it."""
        kind = AddIndexConcurrently if _is_postgres(editor) else migrations.AddIndex
        kind.database_backwards(self, app, editor, old, new)


def _is_postgres(editor: Any) -> bool:
    return bool(editor.connection.vendor == "postgresql")


def _set(apps: Any, editor: Any) -> None:
    if _is_postgres(editor):
        for table, settings in AUTOVACUUM.items():
            values = ", ".join(f"{name} = {value}" for name, value in settings.items())
            editor.execute(f"ALTER TABLE {table} SET ({values})")


def _reset(apps: Any, editor: Any) -> None:
    if _is_postgres(editor):
        for table, settings in AUTOVACUUM.items():
            editor.execute(f"ALTER TABLE {table} RESET ({', '.join(settings)})")


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0010_loss_count")]

    operations = [
        migrations.RunPython(_set, _reset),
        AddIndexUnderLoad(
            model_name="notification",
            index=models.Index(fields=["created_at", "id"], name="notification_created"),
        ),
        migrations.AlterField(
            model_name="attempt",
            name="notification",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="attempts",
                to="notifications.notification",
            ),
        ),
    ]
