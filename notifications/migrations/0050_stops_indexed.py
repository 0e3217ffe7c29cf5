"""Of one recipient STOP may be in force for several accounts at once.

The new constraint stands before the old one goes, so that nothing is taken twice meanwhile.
"""

from importlib import import_module
from typing import ClassVar

from django.db import migrations, models
from django.db.models import Q

# Of texts nothing else has left such a suppression; its source is the account.
NAME_ACCOUNTS = """
UPDATE notifications_suppression SET account = source
WHERE channel = 'sms' AND scope = 'everything' AND reason = 'unsubscribed' AND lifted_at IS NULL
"""
NAME_NONE = "UPDATE notifications_suppression SET account = ''"

_under_load = import_module("notifications.migrations.0025_projects_indexed")


class Migration(migrations.Migration):
    atomic = False  # an index that is built under load is built outside a transaction

    dependencies: ClassVar = [("notifications", "0049_stops_by_account")]

    operations: ClassVar = [
        migrations.RunSQL(NAME_ACCOUNTS, NAME_NONE),
        _under_load.AddUniqueUnderLoad(
            model_name="suppression",
            constraint=models.UniqueConstraint(
                fields=["project", "test", "channel", "recipient", "scope", "account"],
                name="suppression_of_account",
                condition=Q(lifted_at__isnull=True),
            ),
        ),
        _under_load.RemoveUniqueUnderLoad(
            model_name="suppression", name="suppression_of_project"
        ),
    ]
