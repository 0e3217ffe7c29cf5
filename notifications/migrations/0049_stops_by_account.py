"""STOP by SMS is kept for each account; a throttle may count by days of the calendar."""

from typing import ClassVar

from django.db import migrations, models

STOPS = [("sent", "sent"), ("delivered", "delivered"), ("read", "read"), ("answered", "answered")]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("notifications", "0048_chain_going_at")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="suppression",
            name="account",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="Of STOP by SMS the account that got it: each holds until START to the "
                "same one.",
                max_length=50,
            ),
        ),
        migrations.AddField(
            model_name="throttle",
            name="local_day",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="A period is a day of the calendar where the recipient is.",
            ),
        ),
        migrations.AlterField(
            model_name="chain",
            name="stop_on",
            field=models.CharField(
                choices=STOPS,
                default="delivered",
                help_text="What a step has to reach so that no further one is sent.",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="chainrun",
            name="stop_on",
            field=models.CharField(choices=STOPS, max_length=10),
        ),
    ]
