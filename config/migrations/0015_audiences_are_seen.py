"""Who sees notifications sees audiences; who may send them makes audiences."""

from django.db import migrations

from config.role_permissions import Given, give

GIVEN = [Given("view_notification", "view", "audience", "audience")]
GIVEN += [
    Given("add_notification", verb, "audience", "audience") for verb in ("add", "change", "delete")
]


class Migration(migrations.Migration):
    dependencies = [("config", "0014_chains_are_seen"), ("notifications", "0043_audiences")]

    operations = [give(GIVEN)]
