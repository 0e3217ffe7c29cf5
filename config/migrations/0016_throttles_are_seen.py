"""Who sees notifications sees throttles; who makes API keys makes them."""

from django.db import migrations

from config.role_permissions import Given, give

GIVEN = [Given("view_notification", "view", "throttle", "throttle")]
GIVEN += [Given("add_apikey", verb, "throttle", "throttle") for verb in ("add", "change", "delete")]


class Migration(migrations.Migration):
    dependencies = [("config", "0015_audiences_are_seen"), ("notifications", "0047_throttles")]

    operations = [give(GIVEN)]
