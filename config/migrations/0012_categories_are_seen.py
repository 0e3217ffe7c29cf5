"""Who sees notifications sees their categories; who makes API keys makes categories."""

from django.db import migrations

from config.role_permissions import Given, give

GIVEN = [Given("view_notification", "view", "category", "category")]
GIVEN += [
    Given("add_apikey", verb, "category", "category")
    for verb in ("add", "change", "delete")
]


class Migration(migrations.Migration):
    dependencies = [("config", "0011_recipients_are_seen"), ("notifications", "0033_preferences")]

    operations = [give(GIVEN)]
