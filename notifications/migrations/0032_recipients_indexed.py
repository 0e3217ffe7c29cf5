"""The indexes by which what was sent to a stored recipient is listed and forgotten."""

from importlib import import_module

from django.db import migrations, models
from django.db.models import Q

AddIndexUnderLoad = import_module("notifications.migrations.0011_growth").AddIndexUnderLoad


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0031_recipients")]

    operations = [
        # A partitioned table's cannot be built so; only retention writes it, and waits.
        migrations.AddIndex(
            model_name="archivednotification",
            index=models.Index(
                condition=~Q(recipient_key=""),
                fields=["project", "recipient_key"],
                name="archived_of_recipient",
            ),
        ),
        AddIndexUnderLoad(
            model_name="notification",
            index=models.Index(
                condition=~Q(recipient_key=""),
                fields=["project", "recipient_key", "created_at", "id"],
                name="notification_of_recipient",
            ),
        ),
    ]
