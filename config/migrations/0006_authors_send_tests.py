"""Whoever may publish a version may send a test of one; a viewer may not."""

from django.db import migrations


def let(apps, _schema_editor):
    """Give the permission to the roles that publish."""
    for group in _groups(apps):
        group.permissions.add(_permission(apps))


def let_not(apps, _schema_editor):
    """Take the permission back."""
    for group in _groups(apps):
        group.permissions.remove(_permission(apps))


def _groups(apps):
    return apps.get_model("auth", "Group").objects.filter(
        permissions__codename="publish_templateversion",
        permissions__content_type__app_label="templates_engine",
    )


def _permission(apps):
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="templates_engine", model="templateversion"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type,
        codename="test_templateversion",
        defaults={"name": "Can send a test of a version"},
    )
    return permission


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0005_accounts_and_schedules_are_admins"),
        ("templates_engine", "0003_tests_have_a_permission"),
    ]

    operations = [migrations.RunPython(let, let_not)]
