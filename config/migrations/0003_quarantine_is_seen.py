"""Whoever may see notifications may see the quarantine; whoever may resend them may release."""

from django.db import migrations

# The permission that a role has already, and the one that it gets.
GIVEN = {"view_notification": "view_quarantinedrow", "resend_notification": "change_quarantinedrow"}


def let(apps, _schema_editor):
    """Give the permissions to the roles."""
    for has, gets in GIVEN.items():
        for group in _groups(apps, has):
            group.permissions.add(_permission(apps, gets))


def let_not(apps, _schema_editor):
    """Take the permissions back."""
    for has, gets in GIVEN.items():
        for group in _groups(apps, has):
            group.permissions.remove(_permission(apps, gets))


def _groups(apps, codename):
    return apps.get_model("auth", "Group").objects.filter(
        permissions__codename=codename, permissions__content_type__app_label="notifications"
    )


def _permission(apps, codename):
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="notifications", model="quarantinedrow"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type,
        codename=codename,
        defaults={"name": f"Can {codename.partition('_')[0]} quarantined row"},
    )
    return permission


class Migration(migrations.Migration):
    dependencies = [("config", "0002_archive_is_seen")]

    operations = [migrations.RunPython(let, let_not)]
