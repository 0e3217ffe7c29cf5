from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("notifications", "0009_sms_segments"),
    ]

    operations = [
        migrations.AddField(
            model_name="notification",
            name="loss_count",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="Attempts whose worker died."
            ),
        ),
    ]
