"""Who sees notifications sees recipients; who may send new ones saves and deletes recipients."""

from django.db import migrations

from config.role_permissions import Given, give

GIVEN = [Given("view_notification", "view", "recipient", "recipient")]
GIVEN += [
    Given("add_notification", verb, "recipient", "recipient")
    for verb in ("add", "change", "delete")
]


class Migration(migrations.Migration):
    dependencies = [("config", "0010_operators_send"), ("notifications", "0031_recipients")]

    operations = [give(GIVEN)]
