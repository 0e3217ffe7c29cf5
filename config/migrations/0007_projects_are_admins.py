"""Whoever makes API keys makes the projects that they are for."""

from django.db import migrations


def let(apps, _schema_editor):
    """Give the permission to the role that makes keys."""
    for verb in ("add", "change", "view"):
        for group in _groups(apps, verb):
            group.permissions.add(_permission(apps, verb))


def let_not(apps, _schema_editor):
    """Take the permission back."""
    for verb in ("add", "change", "view"):
        for group in _groups(apps, verb):
            group.permissions.remove(_permission(apps, verb))


def _groups(apps, verb):
    return apps.get_model("auth", "Group").objects.filter(
        permissions__codename=f"{verb}_apikey",
        permissions__content_type__app_label="notifications",
    )


def _permission(apps, verb):
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="notifications", model="project"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type,
        codename=f"{verb}_project",
        defaults={"name": f"Can {verb} project"},
    )
    return permission


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0006_authors_send_tests"),
        ("notifications", "0024_projects"),
    ]

    operations = [migrations.RunPython(let, let_not)]
