"""Who sees notifications sees chains; who makes API keys makes them."""

from django.db import migrations

from config.role_permissions import Given, give

GIVEN = [Given("view_notification", "view", "chain", "chain")]
GIVEN += [Given("add_apikey", verb, "chain", "chain") for verb in ("add", "change", "delete")]


class Migration(migrations.Migration):
    dependencies = [("config", "0013_windows_are_seen"), ("notifications", "0037_chains")]

    operations = [give(GIVEN)]
