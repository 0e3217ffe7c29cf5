"""What is taken once by a project, and listed by it, instead of by everybody.

The new index stands before the old one goes, so that nothing is taken twice meanwhile; code that
does not know projects relies on either.
"""

from importlib import import_module
from typing import Any

from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import Q

AddIndexUnderLoad = import_module("notifications.migrations.0011_growth").AddIndexUnderLoad

TESTS_FAILED = """
UPDATE notifications_faileddelivery SET test = %s WHERE notification_id IN
    (SELECT id FROM notifications_notification WHERE test)
"""


class RemoveIndexUnderLoad(RemoveIndexConcurrently):
    """Remove an index on Postgres while others write; SQLite knows no such way."""

    def database_forwards(self, app: Any, editor: Any, old: Any, new: Any) -> None:
        """Remove it."""
        kind = RemoveIndexConcurrently if _is_postgres(editor) else migrations.RemoveIndex
        kind.database_forwards(self, app, editor, old, new)

    def database_backwards(self, app: Any, editor: Any, old: Any, new: Any) -> None:
        """Add it again."""
        kind = RemoveIndexConcurrently if _is_postgres(editor) else migrations.RemoveIndex
        kind.database_backwards(self, app, editor, old, new)


class AddUniqueUnderLoad(migrations.AddConstraint):
    """Add a unique constraint that has a condition: an index, built while others write."""

    def database_forwards(self, app: Any, editor: Any, old: Any, new: Any) -> None:
        """Add it; what an interrupted attempt has left is built anew."""
        _add(editor, new.apps.get_model(app, self.model_name), self.constraint)

    def database_backwards(self, app: Any, editor: Any, old: Any, new: Any) -> None:
        """Remove it."""
        _remove(editor, new.apps.get_model(app, self.model_name), self.constraint)


class RemoveUniqueUnderLoad(migrations.RemoveConstraint):
    """Remove such a constraint while others write."""

    def database_forwards(self, app: Any, editor: Any, old: Any, new: Any) -> None:
        """Remove it."""
        state = old.models[app, self.model_name_lower]
        _remove(
            editor,
            old.apps.get_model(app, self.model_name),
            state.get_constraint_by_name(self.name),
        )

    def database_backwards(self, app: Any, editor: Any, old: Any, new: Any) -> None:
        """Add it again."""
        state = new.models[app, self.model_name_lower]
        model = new.apps.get_model(app, self.model_name)
        _add(editor, model, state.get_constraint_by_name(self.name))


def _add(editor: Any, model: Any, constraint: models.UniqueConstraint) -> None:
    if not _is_postgres(editor):
        editor.add_constraint(model, constraint)
        return
    _remove(editor, model, constraint)
    sql = str(constraint.create_sql(model, editor))
    editor.execute(sql.replace("UNIQUE INDEX", "UNIQUE INDEX CONCURRENTLY", 1))


def _remove(editor: Any, model: Any, constraint: models.UniqueConstraint) -> None:
    if not _is_postgres(editor):
        editor.remove_constraint(model, constraint)
        return
    editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {editor.quote_name(constraint.name)}")


def _is_postgres(editor: Any) -> bool:
    return bool(editor.connection.vendor == "postgresql")


def _note_tests(_apps: Any, editor: Any) -> None:
    with editor.connection.cursor() as cursor:
        cursor.execute(TESTS_FAILED, [True])


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0024_projects")]

    operations = [
        migrations.RunPython(_note_tests, migrations.RunPython.noop),
        AddUniqueUnderLoad(
            model_name="notification",
            constraint=models.UniqueConstraint(
                fields=["project", "test", "idempotency_key"],
                name="notification_key_of_project",
                condition=~Q(idempotency_key=""),
            ),
        ),
        RemoveUniqueUnderLoad(model_name="notification", name="notification_idempotency_key"),
        AddUniqueUnderLoad(
            model_name="suppression",
            constraint=models.UniqueConstraint(
                fields=["project", "test", "channel", "recipient", "scope"],
                name="suppression_of_project",
                condition=Q(lifted_at__isnull=True),
            ),
        ),
        RemoveUniqueUnderLoad(model_name="suppression", name="suppression_in_force"),
        AddIndexUnderLoad(
            model_name="notification",
            index=models.Index(
                fields=["project", "created_at", "id"], name="notification_of_project"
            ),
        ),
        AddIndexUnderLoad(
            model_name="notification",
            index=models.Index(
                fields=["project", "created_at", "id"],
                name="notification_of_test",
                condition=Q(test=True),
            ),
        ),
        RemoveIndexUnderLoad(model_name="notification", name="notification_created"),
        AddIndexUnderLoad(
            model_name="batch",
            index=models.Index(fields=["project", "created_at", "id"], name="batch_of_project"),
        ),
        RemoveIndexUnderLoad(model_name="batch", name="batch_age"),
        AddIndexUnderLoad(
            model_name="faileddelivery",
            index=models.Index(fields=["project", "-id"], name="dead_letter_of_project"),
        ),
    ]
