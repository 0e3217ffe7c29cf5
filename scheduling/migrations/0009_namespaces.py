"""Whose a schedule is."""

from importlib import import_module

from django.db import migrations, models

_before = import_module("scheduling.migrations.0007_origin_of_schedules")


class Migration(migrations.Migration):

    dependencies = [
        ('scheduling', '0008_lease_tokens'),
    ]

    operations = [
        migrations.RunPython(_before.remove_on_sqlite, _before.install_on_sqlite),
        migrations.AddField(
            model_name='schedule',
            name='namespace',
            field=models.CharField(blank=True, db_default='', default='', editable=False, help_text="The project that it belongs to. Empty: none.", max_length=60),
        ),
        migrations.RunPython(_before.install_on_sqlite, _before.remove_on_sqlite),
    ]
