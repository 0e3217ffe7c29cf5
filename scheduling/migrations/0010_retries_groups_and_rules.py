"""How failed runs are tried again, groups of jobs, and rules that no row of celery-beat's holds."""

from importlib import import_module

import django.core.validators
from django.db import migrations, models

_before = import_module("scheduling.migrations.0007_origin_of_schedules")


class Migration(migrations.Migration):

    dependencies = [
        ('scheduling', '0009_namespaces'),
    ]

    operations = [
        migrations.RunPython(_before.remove_on_sqlite, _before.install_on_sqlite),
        migrations.AddField(
            model_name='schedule',
            name='concurrency',
            field=models.PositiveIntegerField(db_default=1, default=1, editable=False, help_text="With overlap 'skip' or 'queue': so many runs may go on at once.", validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.AddField(
            model_name='schedule',
            name='groups',
            field=models.JSONField(blank=True, editable=False, help_text='Names of the groups that it is in.', null=True),
        ),
        migrations.AddField(
            model_name='schedule',
            name='recurrence',
            field=models.JSONField(blank=True, editable=False, help_text="A rule that no row of django-celery-beat's holds, and the row it goes by.", null=True),
        ),
        migrations.AddField(
            model_name='schedule',
            name='retry',
            field=models.JSONField(blank=True, editable=False, help_text='How a failed run is tried again, if not by a doubling wait; see retries.', null=True),
        ),
        migrations.RunPython(_before.install_on_sqlite, _before.remove_on_sqlite),
    ]
