"""Whoever may see notifications may see the archived ones."""

from django.db import migrations


def let_see(apps, _schema_editor):
    """Give the permission to each role that may see live notifications."""
    see = _permission(apps)
    for group in _who_sees_notifications(apps):
        group.permissions.add(see)


def let_not_see(apps, _schema_editor):
    """Take the permission back."""
    see = _permission(apps)
    for group in _who_sees_notifications(apps):
        group.permissions.remove(see)


def _who_sees_notifications(apps):
    return apps.get_model("auth", "Group").objects.filter(
        permissions__codename="view_notification",
        permissions__content_type__app_label="notifications",
    )


def _permission(apps):
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="notifications", model="archivednotification"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type,
        codename="view_archivednotification",
        defaults={"name": "Can view archived notification"},
    )
    return permission


class Migration(migrations.Migration):
    dependencies = [("config", "0001_roles")]

    operations = [migrations.RunPython(let_see, let_not_see)]
