"""Who sees notifications sees delivery windows; who makes API keys makes them."""

from django.db import migrations

from config.role_permissions import Given, give

GIVEN = [Given("view_notification", "view", "deliverywindow", "delivery window")]
GIVEN += [
    Given("add_apikey", verb, "deliverywindow", "delivery window")
    for verb in ("add", "change", "delete")
]


class Migration(migrations.Migration):
    dependencies = [("config", "0012_categories_are_seen"), ("notifications", "0036_delivery_windows")]

    operations = [give(GIVEN)]
