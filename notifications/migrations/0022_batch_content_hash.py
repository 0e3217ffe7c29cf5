"""What tells whether a batch is asked for again, with the same content."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notifications", "0021_message_options")]

    operations = [
        migrations.AddField(
            model_name="batch",
            name="content_hash",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="A hash of the request, by which a repeated request is recognized.",
                max_length=32,
            ),
        ),
    ]
