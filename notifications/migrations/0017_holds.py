"""What an operator holds back, which rows a batch refused, and which run made a batch."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("notifications", "0016_deferred_rows"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Hold",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("everything", "Everything"),
                            ("channel", "Channel"),
                            ("queue", "Queue"),
                            ("account", "Account"),
                            ("template", "Template"),
                            ("schedule", "Schedule"),
                        ],
                        max_length=10,
                    ),
                ),
                ("value", models.CharField(blank=True, max_length=200)),
                ("reason", models.CharField(blank=True, max_length=255)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("released_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["scope", "value"],
                "constraints": [
                    models.UniqueConstraint(fields=("scope", "value"), name="hold_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="RefusedRow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("place", models.PositiveIntegerField(help_text="Among the rows, from 0.")),
                (
                    "line",
                    models.PositiveIntegerField(
                        help_text="The line of the CSV file on which the row ends.", null=True
                    ),
                ),
                (
                    "field",
                    models.CharField(blank=True, help_text="Which field is wrong.", max_length=255),
                ),
                ("error", models.CharField(help_text="The error's class.", max_length=100)),
                ("detail", models.TextField(help_text="What is wrong, and how to mend it.")),
                (
                    "batch",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="refused_rows",
                        to="notifications.batch",
                    ),
                ),
            ],
            options={
                "ordering": ["batch", "place"],
                "constraints": [
                    models.UniqueConstraint(fields=("batch", "place"), name="refused_row_once")
                ],
            },
        ),
        migrations.AddField(
            model_name="batch",
            name="run",
            field=models.UUIDField(
                blank=True,
                editable=False,
                help_text="The id of the fire (the run of a schedule) that made the batch.",
                null=True,
            ),
        ),
    ]
