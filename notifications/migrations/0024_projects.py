"""Whose each row is: of a project, and of its tests.

The columns have a constant default, so no row is written, and code that does not know them writes
rows of the default project.
"""

import django.core.validators
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0023_batch_age'),
        ('templates_engine', '0004_namespaces'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Project',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=50, unique=True, validators=[django.core.validators.RegexValidator('^[a-z0-9]+([._-][a-z0-9]+)*\\Z', 'Use lower-case letters, digits, and . _ - between them.')])),
                ('description', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.AddField(
            model_name='apikey',
            name='project',
            field=models.CharField(db_default='default', default='default', help_text="The project that it belongs to.", max_length=50),
        ),
        migrations.AddField(
            model_name='archivednotification',
            name='project',
            field=models.CharField(db_default='default', default='default', editable=False, help_text="The project that it belongs to.", max_length=50),
        ),
        migrations.AddField(
            model_name='batch',
            name='project',
            field=models.CharField(db_default='default', default='default', editable=False, help_text="The project that it belongs to.", max_length=50),
        ),
        migrations.AddField(
            model_name='batch',
            name='test',
            field=models.BooleanField(db_default=False, default=False, editable=False, help_text='Whether all its rows are tests.'),
        ),
        migrations.AddField(
            model_name='bulkreplay',
            name='project',
            field=models.CharField(blank=True, db_default='', default='', help_text='Empty: all.', max_length=50),
        ),
        migrations.AddField(
            model_name='bulkreplay',
            name='test',
            field=models.BooleanField(db_default=False, default=False, help_text="Only failed deliveries of tests."),
        ),
        migrations.AddField(
            model_name='faileddelivery',
            name='project',
            field=models.CharField(db_default='default', default='default', editable=False, help_text="The project that it belongs to.", max_length=50),
        ),
        migrations.AddField(
            model_name='faileddelivery',
            name='test',
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name='notification',
            name='project',
            field=models.CharField(db_default='default', default='default', editable=False, help_text="The project that it belongs to.", max_length=50),
        ),
        migrations.AddField(
            model_name='suppression',
            name='project',
            field=models.CharField(db_default='default', default='default', editable=False, help_text="The project that it belongs to.", max_length=50),
        ),
        migrations.AddField(
            model_name='suppression',
            name='test',
            field=models.BooleanField(db_default=False, default=False, editable=False, help_text="It applies to tests only."),
        ),
    ]
