"""Find what waits for the end of a hold, on a table of any size."""

import importlib

from django.db import migrations, models

AddIndexUnderLoad = importlib.import_module("notifications.migrations.0011_growth").AddIndexUnderLoad


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0017_holds")]

    operations = [
        AddIndexUnderLoad(
            model_name="notification",
            index=models.Index(
                fields=["id"],
                name="notification_parked",
                condition=models.Q(due_at__isnull=True, status="scheduled"),
            ),
        ),
    ]
