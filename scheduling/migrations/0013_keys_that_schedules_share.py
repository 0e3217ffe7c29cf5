"""Keys that schedules share: for their runs at once, and for one run in a period."""

from importlib import import_module

import django.core.validators
import scheduling.terms
from django.db import migrations, models

_before = import_module("scheduling.migrations.0007_origin_of_schedules")


class Migration(migrations.Migration):

    dependencies = [
        ('scheduling', '0012_fires_have_notes'),
    ]

    operations = [
        migrations.RunPython(_before.remove_on_sqlite, _before.install_on_sqlite),
        migrations.CreateModel(
            name='UniqueRun',
            fields=[
                ('key', models.CharField(max_length=100, primary_key=True, serialize=False)),
                ('taken_until', models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name='schedule',
            name='concurrency_key',
            field=models.CharField(blank=True, db_default='', default='', help_text='Schedules with the same key share their runs at once. Empty: its own.', max_length=100),
        ),
        migrations.AddField(
            model_name='schedule',
            name='unique_key',
            field=models.CharField(blank=True, db_default='', default='', help_text="Of all schedules with the same key, one run is let through per period.", max_length=100),
        ),
        migrations.AddField(
            model_name='schedule',
            name='unique_seconds',
            field=models.PositiveIntegerField(blank=True, help_text='The period of the unique key, from the run that was let through.', null=True, validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.AlterField(
            model_name='fire',
            name='note',
            field=models.CharField(blank=True, db_default='', default='', help_text='The holiday that left it out or moved it, or the unique key that was taken.', max_length=255),
        ),
        migrations.AlterField(
            model_name='fire',
            name='status',
            field=models.CharField(choices=[('waiting', 'waits for the run before it'), ('claimed', 'claimed, to be published'), ('dispatched', 'published'), ('running', 'running'), ('succeeded', 'succeeded'), ('failed', 'failed'), ('lost', 'lost: outcome unknown, not repeated'), ('handed_over', 'published; a run outside this project is not followed'), ('skipped_misfire', 'skipped: too late'), ('skipped_overlap', 'skipped: the one before still ran'), ('skipped_expired', 'skipped: no worker took it in time'), ('cancelled', 'cancelled'), ('skipped_condition', 'skipped: its condition said no'), ('skipped_holiday', 'skipped: a holiday'), ('skipped_unique', 'skipped: its key had a run in this period')], default=scheduling.terms.FireStatus['CLAIMED'], max_length=20),
        ),
        migrations.AlterField(
            model_name='schedule',
            name='concurrency',
            field=models.PositiveIntegerField(db_default=1, default=1, help_text="With overlap 'skip' or 'queue': so many runs may go on at once.", validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.RunPython(_before.install_on_sqlite, _before.remove_on_sqlite),
    ]
