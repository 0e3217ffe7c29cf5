"""Calls that a fire carries itself, where its schedule stands for many: Django's tasks."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('scheduling', '0013_keys_that_schedules_share'),
    ]

    operations = [
        migrations.AddField(
            model_name='fire',
            name='call',
            field=models.JSONField(editable=False, help_text='What it calls, and in which queue, where its schedule stands for many calls.', null=True),
        ),
    ]
