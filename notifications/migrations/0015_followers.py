"""What follows in a canvas is found by what was not called yet, however its notification ended."""

from importlib import import_module

from django.db import migrations, models
from django.db.models import Q

AddIndexUnderLoad = import_module("notifications.migrations.0011_growth").AddIndexUnderLoad
HELP = "The Celery tasks to call afterwards, until they are called."


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0014_quarantined_row")]

    operations = [
        AddIndexUnderLoad(
            model_name="notification",
            index=models.Index(
                fields=["finished_at"],
                name="notification_followers",
                condition=Q(continuation__isnull=False, finished_at__isnull=False),
            ),
        ),
        migrations.AlterField(
            model_name="notification",
            name="continuation",
            field=models.JSONField(blank=True, editable=False, help_text=HELP, null=True),
        ),
        migrations.AlterField(
            model_name="archivednotification",
            name="continuation",
            field=models.JSONField(blank=True, editable=False, help_text=HELP, null=True),
        ),
    ]
