"""A step of a chain is there once for each of its addresses; steps are found by their run."""

from importlib import import_module

from django.db import migrations, models
from django.db.models import Q

AddUniqueUnderLoad = import_module(
    "notifications.migrations.0025_projects_indexed"
).AddUniqueUnderLoad


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies = [("notifications", "0037_chains")]

    operations = [
        AddUniqueUnderLoad(
            model_name="notification",
            constraint=models.UniqueConstraint(
                fields=["chain_run", "chain_step", "recipient"],
                name="notification_chain_step",
                condition=Q(chain_run__isnull=False) & ~Q(recipient="forgotten"),
            ),
        ),
    ]
