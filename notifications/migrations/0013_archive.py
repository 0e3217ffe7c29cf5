"""The archive: on Postgres a table with a partition for each month, made when it is needed."""

from typing import Any

import django.db.models.deletion
import django.db.models.functions.datetime
import notifications.models.notification
from django.db import migrations, models

# With the live table's columns as they are there; a partition's key is part of every unique one.
# No foreign key comes along: it would lock the templates whenever a month is dropped.
PARTITIONED = """
CREATE TABLE notifications_archivednotification (
    LIKE notifications_notification INCLUDING DEFAULTS,
    attempts jsonb NOT NULL,
    PRIMARY KEY (id, finished_at)
) PARTITION BY RANGE (finished_at)
"""


class CreateArchive(migrations.CreateModel):
    """Make the table, on Postgres in parts; SQLite knows none."""

    def database_forwards(self, app: Any, editor: Any, old: Any, new: Any) -> None:
        """Make it with its indexes, which each partition gets by itself."""
        if editor.connection.vendor != "postgresql":
            super().database_forwards(app, editor, old, new)
            return
        editor.execute(PARTITIONED)
        model = new.apps.get_model(app, self.name)
        for index in model._meta.indexes:
            editor.add_index(model, index)


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0012_suppression_notification'),
        ('templates_engine', '0001_initial'),
    ]

    operations = [
        CreateArchive(
            name='ArchivedNotification',
            fields=[
                ('id', models.UUIDField(default=notifications.models.notification.new_id, editable=False, primary_key=True, serialize=False)),
                ('channel', models.CharField(choices=[('email', 'email'), ('sms', 'sms'), ('push', 'push'), ('webhook', 'webhook'), ('chat', 'chat'), ('simulator', 'simulator'), ('callback', 'callback')], max_length=20)),
                ('priority', models.CharField(choices=[('high', 'high'), ('medium', 'medium'), ('low', 'low')], max_length=10)),
                ('recipient', models.TextField()),
                ('locale', models.CharField(blank=True, max_length=35)),
                ('context', models.JSONField(blank=True, default=dict)),
                ('subject', models.TextField(blank=True)),
                ('body', models.TextField(blank=True)),
                ('guarantee', models.CharField(choices=[('at_least_once', 'at_least_once'), ('at_most_once', 'at_most_once')], default='at_least_once', max_length=15)),
                ('retry', models.JSONField(blank=True, help_text="Values that differ from the priority's retry policy.", null=True)),
                ('reference', models.CharField(blank=True, max_length=255)),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('idempotency_key', models.CharField(blank=True, max_length=255)),
                ('content_hash', models.CharField(blank=True, editable=False, max_length=32)),
                ('test', models.BooleanField(db_default=False, default=False, help_text="A test: only the simulator gets it.")),
                ('request_id', models.CharField(blank=True, db_default='', default='', editable=False, help_text='The HTTP request that asked for it.', max_length=64)),
                ('callback_url', models.CharField(blank=True, db_default='', default='', help_text="The URL to which its final state is reported.", max_length=2000)),
                ('told_status', models.CharField(blank=True, db_default='', default='', editable=False, help_text="The final state that was last reported to the callback URL.", max_length=10)),
                ('continuation', models.JSONField(blank=True, editable=False, help_text='Celery signatures to call when this one is sent.', null=True)),
                ('status', models.CharField(choices=[('scheduled', 'Scheduled'), ('queued', 'Queued'), ('sending', 'Sending'), ('sent', 'Sent'), ('delivered', 'Delivered'), ('failed', 'Failed'), ('cancelled', 'Cancelled'), ('expired', 'Expired'), ('suppressed', 'Suppressed')], max_length=10)),
                ('due_at', models.DateTimeField(blank=True, help_text="When a worker or the sweep must look at this row again.", null=True)),
                ('attempt_count', models.PositiveSmallIntegerField(default=0, help_text="Attempts begun. A worker's report counts only while it has this number.")),
                ('failover_count', models.PositiveSmallIntegerField(default=0, help_text="Attempts that another account repeated at once.")),
                ('loss_count', models.PositiveSmallIntegerField(db_default=0, default=0, help_text="Attempts whose worker died.")),
                ('reason', models.CharField(blank=True, help_text='Why it is in this state.', max_length=50)),
                ('provider', models.CharField(blank=True, max_length=50)),
                ('segments', models.PositiveSmallIntegerField(blank=True, help_text='How many segments an SMS took.', null=True)),
                ('scheduled_at', models.DateTimeField(help_text='When it was first to be sent.')),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('batch_id', models.UUIDField(blank=True, null=True)),
                ('replay_of_id', models.UUIDField(blank=True, null=True)),
                ('attempts', models.JSONField(help_text='The columns of each attempt, the first one first.')),
                ('template_version', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='templates_engine.templateversion')),
            ],
            options={
                'indexes': [models.Index(fields=['recipient'], name='archived_recipient'), models.Index(condition=models.Q(('reference', ''), _negated=True), fields=['reference'], name='archived_reference'), models.Index(condition=models.Q(('idempotency_key', ''), _negated=True), fields=['idempotency_key'], name='archived_idempotency_key'), models.Index(fields=['created_at', 'id'], name='archived_created')],
            },
        ),
    ]
