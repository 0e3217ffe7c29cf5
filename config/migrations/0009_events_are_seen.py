"""Who sees batches sees events and their rules; who makes API keys makes rules."""

from django.db import migrations

SEEN = ("event", "eventrule")
GIVEN = [("view_batch", "view", model) for model in SEEN]
GIVEN += [("add_apikey", verb, "eventrule") for verb in ("add", "change", "delete")]


def let(apps, _schema_editor):
    """Give the permission to the roles."""
    for holds, verb, model in GIVEN:
        for group in _groups(apps, holds):
            group.permissions.add(_permission(apps, verb, model))


def let_not(apps, _schema_editor):
    """Take the permission back."""
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
        defaults={"name": f"Can {verb} {'event rule' if model == 'eventrule' else model}"},
    )
    return permission


class Migration(migrations.Migration):
    dependencies = [("config", "0008_audit_log"), ("notifications", "0028_events")]

    operations = [migrations.RunPython(let, let_not)]
