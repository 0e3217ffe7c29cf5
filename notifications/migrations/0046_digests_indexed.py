"""The index by which a digest's events are found."""

from importlib import import_module

from django.db import migrations, models
from django.db.models import Q

AddIndexUnderLoad = import_module("notifications.migrations.0011_growth").AddIndexUnderLoad


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0045_digests")]

    operations = [
        AddIndexUnderLoad(
            model_name="notification",
            index=models.Index(
                fields=["digest_id"],
                name="notification_digest",
                condition=Q(digest_id__isnull=False),
            ),
        ),
    ]
