from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Let a rule of events name stored recipients, and a category."""

    dependencies: ClassVar = [("notifications", "0039_consent_to_everything")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="eventrule",
            name="to",
            field=models.CharField(
                blank=True,
                default="",
                db_default="",
                help_text="In place of addresses: an expression for the id of a stored recipient, "
                "or a list, like data.customer.id.",
                max_length=500,
            ),
        ),
        migrations.AddField(
            model_name="eventrule",
            name="category",
            field=models.CharField(
                blank=True,
                default="",
                db_default="",
                help_text="What recipients may refuse it as, like billing.",
                max_length=50,
            ),
        ),
        migrations.AlterField(
            model_name="eventrule",
            name="recipients",
            field=models.CharField(
                blank=True,
                help_text="An expression for one address or a list, like data.customer.email.",
                max_length=500,
            ),
        ),
    ]
