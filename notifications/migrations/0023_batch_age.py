"""The index that lists batches by their age, which not every id tells any more."""

from importlib import import_module

from django.db import migrations, models

AddIndexUnderLoad = import_module("notifications.migrations.0011_growth").AddIndexUnderLoad


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0022_batch_content_hash")]

    operations = [
        AddIndexUnderLoad(
            model_name="batch",
            index=models.Index(fields=["created_at", "id"], name="batch_age"),
        ),
    ]
