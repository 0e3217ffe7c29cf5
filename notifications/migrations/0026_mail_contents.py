"""What a mail has beside subject and body: tables of its own, and a pointer that costs nothing."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

POINTER = {
    "blank": True,
    "db_constraint": False,
    "db_index": False,
    "editable": False,
    "help_text": "What a mail has beside subject and body.",
    "null": True,
    "on_delete": django.db.models.deletion.DO_NOTHING,
    "related_name": "+",
    "to": "notifications.mailcontent",
}


class Migration(migrations.Migration):
    dependencies = [("notifications", "0025_projects_indexed")]

    operations = [
        migrations.CreateModel(
            name="Attachment",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("digest", models.CharField(max_length=64)),
                ("size", models.PositiveIntegerField(help_text="In bytes.")),
                ("content", models.BinaryField(blank=True, null=True)),
                ("stored_as", models.CharField(blank=True, max_length=255)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["digest"], name="attachment_digest"),
                    models.Index(
                        condition=models.Q(("content__isnull", False)),
                        fields=["id"],
                        name="attachment_in_database",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="MailContent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("digest", models.CharField(max_length=64)),
                ("fields", models.JSONField()),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "attachments",
                    models.ManyToManyField(
                        blank=True, related_name="mails", to="notifications.attachment"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["digest"], name="mail_content_digest")],
            },
        ),
        migrations.AddField(
            model_name="archivednotification", name="mail", field=models.ForeignKey(**POINTER)
        ),
        migrations.AddField(
            model_name="notification", name="mail", field=models.ForeignKey(**POINTER)
        ),
    ]
