"""Whoever may send a notification again may send a new one."""

from django.db import migrations


def let(apps, _schema_editor):
    """Give the permission to send to the roles that may resend."""
    for group in _groups(apps):
        group.permissions.add(_permission(apps))


def let_not(apps, _schema_editor):
    """Take the permission back."""
    for group in _groups(apps):
        group.permissions.remove(_permission(apps))


def _groups(apps):
    return apps.get_model("auth", "Group").objects.filter(
        permissions__codename="resend_notification",
        permissions__content_type__app_label="notifications",
    )


def _permission(apps):
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="notifications", model="notification"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type,
        codename="add_notification",
        defaults={"name": "Can add notification"},
    )
    return permission


class Migration(migrations.Migration):
    dependencies = [("config", "0009_events_are_seen")]

    operations = [migrations.RunPython(let, let_not)]
