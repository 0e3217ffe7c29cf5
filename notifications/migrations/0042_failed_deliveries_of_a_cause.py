"""The failed deliveries of a cause, newest first, are listed by an index."""

from importlib import import_module

from django.db import migrations, models

AddIndexUnderLoad = import_module("notifications.migrations.0011_growth").AddIndexUnderLoad


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0041_late_channel")]

    operations = [
        AddIndexUnderLoad(
            model_name="faileddelivery",
            index=models.Index(fields=["fingerprint", "-id"], name="dead_letter_of_cause"),
        ),
    ]
