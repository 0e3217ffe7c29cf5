"""The indexes by which audiences find recipients."""

from importlib import import_module

from django.db import migrations, models

AddIndexUnderLoad = import_module("notifications.migrations.0011_growth").AddIndexUnderLoad

TABLE = "notifications_recipient"
OF_JSON = ("attributes", "choices")
OTHERS = {
    "locale": "recipient_locale",
    "timezone": "recipient_timezone",
    "country": "recipient_country",
    "created_at": "recipient_created",
}


def _add(apps, editor):
    if editor.connection.vendor != "postgresql":
        return
    _remove(apps, editor)  # what an interruption has left is not valid
    for column in OF_JSON:
        editor.execute(
            f"CREATE INDEX CONCURRENTLY recipient_{column} ON {TABLE}"
            f" USING gin ({column} jsonb_path_ops)"
        )


def _remove(apps, editor):
    if editor.connection.vendor == "postgresql":
        for column in OF_JSON:
            editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS recipient_{column}")


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0043_audiences")]

    operations = [
        *(
            AddIndexUnderLoad(
                model_name="recipient",
                index=models.Index(fields=["project", "test", column], name=name),
            )
            for column, name in OTHERS.items()
        ),
        migrations.RunPython(_add, _remove),
    ]
