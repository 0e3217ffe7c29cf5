from typing import ClassVar

from django.db import migrations, models

from notifications.models.recipient import ADDRESSED


class Migration(migrations.Migration):
    """Let what would expire before its window opens go by another channel."""

    dependencies: ClassVar = [("notifications", "0040_rules_to_recipients")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="deliverywindow",
            name="late_channel",
            field=models.CharField(
                blank=True,
                choices=[(c, c) for c in ADDRESSED],
                default="",
                db_default="",
                help_text="If it says channel: the channel by which it goes then.",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="deliverywindow",
            name="late_template",
            field=models.CharField(
                blank=True,
                default="",
                db_default="",
                help_text="The template of that channel, for what has a template.",
                max_length=100,
            ),
        ),
        migrations.AlterField(
            model_name="deliverywindow",
            name="if_late",
            field=models.CharField(
                choices=[("send", "Send"), ("drop", "Drop"), ("channel", "Channel")],
                default="drop",
                help_text="What becomes of one that would expire before it opens.",
                max_length=10,
            ),
        ),
    ]
