"""Who sees notifications sees the runs of chains."""

from django.db import migrations

from config.role_permissions import Given, give

GIVEN = [Given("view_notification", "view", "chainrun", "chain run")]


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0016_throttles_are_seen"),
        ("notifications", "0048_chain_going_at"),
    ]

    operations = [give(GIVEN)]
