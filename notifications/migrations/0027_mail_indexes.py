"""The indexes by which the collector sees whether anybody still refers to a mail's content."""

from importlib import import_module

from django.db import migrations, models

AddIndexUnderLoad = import_module("notifications.migrations.0011_growth").AddIndexUnderLoad


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0026_mail_contents")]

    operations = [
        # A partitioned table's cannot be built so; only retention writes it, and waits.
        migrations.AddIndex(
            model_name="archivednotification",
            index=models.Index(
                condition=models.Q(("mail__isnull", False)), fields=["mail"], name="archived_mail"
            ),
        ),
        AddIndexUnderLoad(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("mail__isnull", False)),
                fields=["mail"],
                name="notification_mail",
            ),
        ),
    ]
