"""Mail addresses with capitals are found in any letter case, by an index of them alone."""

from importlib import import_module

from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Lower

AddIndexUnderLoad = import_module("notifications.migrations.0011_growth").AddIndexUnderLoad

WITH_CAPITALS = Q(("channel", "email"), ~Q(("recipient", Lower("recipient"))))


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0033_preferences")]

    operations = [
        # A partitioned table's cannot be built so; only retention writes it, and waits.
        migrations.AddIndex(
            model_name="archivednotification",
            index=models.Index(
                Lower("recipient"), condition=WITH_CAPITALS, name="archived_recipient_case"
            ),
        ),
        AddIndexUnderLoad(
            model_name="notification",
            index=models.Index(
                Lower("recipient"), condition=WITH_CAPITALS, name="notification_recipient_case"
            ),
        ),
    ]
