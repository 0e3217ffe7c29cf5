"""Operators pause, resume and run schedules; accounts and what schedules do are administrators'.

Whoever changes an account decides where its secrets go, and whoever writes a schedule what runs.
"""

from django.db import migrations

TAKEN = [
    ("notifications", "change_provideraccount"),
    *(
        ("django_celery_beat", f"{verb}_{model}schedule")
        for verb in ("add", "change", "delete")
        for model in ("crontab", "interval", "clocked", "solar")
    ),
    *(("django_celery_beat", f"{verb}_periodictask") for verb in ("add", "change", "delete")),
]


def take(apps, _schema_editor):
    """Take the permissions from the role of operators."""
    group, permissions = _found(apps)
    if group is not None:
        group.permissions.remove(*permissions)


def give_back(apps, _schema_editor):
    """Give the permissions back."""
    group, permissions = _found(apps)
    if group is not None:
        group.permissions.add(*permissions)


def _found(apps):
    Permission = apps.get_model("auth", "Permission")
    group = apps.get_model("auth", "Group").objects.filter(name="operator").first()
    found = [
        permission
        for app, codename in TAKEN
        for permission in Permission.objects.filter(
            codename=codename, content_type__app_label=app
        )
    ]
    return group, found


class Migration(migrations.Migration):
    dependencies = [("config", "0004_holds_are_seen")]

    operations = [migrations.RunPython(take, give_back)]
