"""Who waits again, and since when: after a failed attempt, or for an account or a limit."""

from importlib import import_module

from django.db import migrations, models
from django.db.models import F, Q

AddIndexUnderLoad = import_module("notifications.migrations.0011_growth").AddIndexUnderLoad


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0015_followers")]

    operations = [
        AddIndexUnderLoad(
            model_name="notification",
            index=models.Index(
                fields=["channel", "priority", "scheduled_at"],
                name="notification_deferred",
                condition=Q(status="scheduled", due_at__gt=F("scheduled_at")),
            ),
        ),
    ]
