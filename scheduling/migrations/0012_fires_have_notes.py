"""What the ledger notes of a fire: the holiday that left it out or moved it."""

from importlib import import_module

import scheduling.terms
from django.db import migrations, models

_before = import_module("scheduling.migrations.0007_origin_of_schedules")


class Migration(migrations.Migration):

    dependencies = [
        ('scheduling', '0011_pause_after'),
    ]

    operations = [
        migrations.RunPython(_before.remove_on_sqlite, _before.install_on_sqlite),
        migrations.AddField(
            model_name='fire',
            name='note',
            field=models.CharField(blank=True, db_default='', default='', help_text='The holiday that has left it out, or from which it was moved.', max_length=255),
        ),
        migrations.AlterField(
            model_name='fire',
            name='status',
            field=models.CharField(choices=[('waiting', 'waits for the run before it'), ('claimed', 'claimed, to be published'), ('dispatched', 'published'), ('running', 'running'), ('succeeded', 'succeeded'), ('failed', 'failed'), ('lost', 'lost: outcome unknown, not repeated'), ('handed_over', 'published; a run outside this project is not followed'), ('skipped_misfire', 'skipped: too late'), ('skipped_overlap', 'skipped: the one before still ran'), ('skipped_expired', 'skipped: no worker took it in time'), ('cancelled', 'cancelled'), ('skipped_condition', 'skipped: its condition said no'), ('skipped_holiday', 'skipped: a holiday')], default=scheduling.terms.FireStatus['CLAIMED'], max_length=20),
        ),
        migrations.RunPython(_before.install_on_sqlite, _before.remove_on_sqlite),
    ]
