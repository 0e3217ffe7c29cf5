"""Whoever may see batches may see the holds; whoever may steer batches may hold and release."""

from django.db import migrations

# The permission that a role has already, and the one that it gets.
GIVEN = [
    ("view_batch", "view_hold"),
    ("change_batch", "add_hold"),
    ("change_batch", "change_hold"),
]


def let(apps, _schema_editor):
    """Give the permissions to the roles."""
    for has, gets in GIVEN:
        for group in _groups(apps, has):
            group.permissions.add(_permission(apps, gets))


def let_not(apps, _schema_editor):
    """Take the permissions back."""
    for has, gets in GIVEN:
        for group in _groups(apps, has):
            group.permissions.remove(_permission(apps, gets))


def _groups(apps, codename):
    return apps.get_model("auth", "Group").objects.filter(
        permissions__codename=codename, permissions__content_type__app_label="notifications"
    )


def _permission(apps, codename):
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="notifications", model="hold"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type,
        codename=codename,
        defaults={"name": f"Can {codename.partition('_')[0]} hold"},
    )
    return permission


class Migration(migrations.Migration):
    dependencies = [("config", "0003_quarantine_is_seen"), ("notifications", "0017_holds")]

    operations = [migrations.RunPython(let, let_not)]
