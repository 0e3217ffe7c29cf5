"""Who sees notifications sees delivery windows; who makes API keys makes them."""

from django.db import migrations

GIVEN = [("view_notification", "view", "deliverywindow")]
GIVEN += [("add_apikey", verb, "deliverywindow") for verb in ("add", "change", "delete")]


def let(apps, _schema_editor):
    """Give the permissions to the roles."""
    for holds, verb, model in GIVEN:
        for group in _groups(apps, holds):
            group.permissions.add(_permission(apps, verb, model))


def let_not(apps, _schema_editor):
    """Take the permissions back."""
    for holds, verb, model in GIVEN:
        for group in _groups(apps, holds):
            group.permissions.remove(_permission(apps, verb, model))


def _groups(apps, codename):
    return apps.get_model("auth", "Group").objects.filter(
        permissions__codename=codename, permissions__content_type__app_label="notifications"
    )


def _permission(apps, verb, model):
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="notifications", model=model
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type,
        codename=f"{verb}_{model}",
        defaults={"name": f"Can {verb} delivery window"},
    )
    return permission


class Migration(migrations.Migration):
    dependencies = [("config", "0012_categories_are_seen"), ("notifications", "0036_delivery_windows")]

    operations = [migrations.RunPython(let, let_not)]
