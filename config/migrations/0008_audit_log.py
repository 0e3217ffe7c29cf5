"""The audit log, with the triggers that keep it; who sees users may see it, and may
export and forget what is kept of a recipient."""

from django.db import migrations, models
from django.db.models.functions.datetime import Now

from config.audit import triggers


def install(apps, schema_editor):
    triggers.install(schema_editor.connection)


def remove(apps, schema_editor):
    triggers.remove(schema_editor.connection)


def let(apps, _schema_editor):
    """Give the permission to the roles that see users."""
    for group in _groups(apps):
        group.permissions.add(*_permissions(apps))


def let_not(apps, _schema_editor):
    """Take the permission back."""
    for group in _groups(apps):
        group.permissions.remove(*_permissions(apps))


def _groups(apps):
    return apps.get_model("auth", "Group").objects.filter(
        permissions__codename="view_user", permissions__content_type__app_label="auth"
    )


def _permissions(apps):
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="config", model="auditentry"
    )
    for codename, name in (
        ("view_auditentry", "Can view audit entry"),
        ("forget_recipient", "Can export and forget all about a recipient"),
    ):
        permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
            content_type=content_type, codename=codename, defaults={"name": name}
        )
        yield permission


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0007_projects_are_admins"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(db_default=Now())),
                (
                    "kind",
                    models.CharField(
                        choices=[("person", "Person"), ("key", "Key"), ("command", "Command")],
                        max_length=7,
                    ),
                ),
                (
                    "who",
                    models.CharField(
                        blank=True,
                        help_text="The user, the key's name, or the machine's user.",
                        max_length=150,
                    ),
                ),
                ("who_id", models.CharField(blank=True, max_length=64)),
                (
                    "act",
                    models.CharField(
                        help_text="Like hold.release, or cancel_batch.", max_length=100
                    ),
                ),
                ("object_type", models.CharField(blank=True, max_length=100)),
                ("object_id", models.CharField(blank=True, max_length=64)),
                ("before", models.JSONField(blank=True, null=True)),
                ("after", models.JSONField(blank=True, null=True)),
                ("detail", models.TextField(blank=True)),
                ("request_id", models.CharField(blank=True, max_length=64)),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit log",
                "ordering": ["-id"],
                "permissions": [
                    ("forget_recipient", "Can export and forget all about a recipient")
                ],
                "indexes": [
                    models.Index(fields=["at"], name="audit_at"),
                    models.Index(fields=["who", "id"], name="audit_who"),
                    models.Index(fields=["act", "id"], name="audit_act"),
                    models.Index(
                        fields=["object_type", "object_id", "id"], name="audit_object"
                    ),
                ],
            },
        ),
        migrations.RunPython(install, remove),
        migrations.RunPython(let, let_not),
    ]
