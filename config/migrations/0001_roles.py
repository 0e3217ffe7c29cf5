"""The roles: what a viewer, an author, an operator and an admin may do in the admin.

They concern every room of the house, so they live at its root.
"""

from django.db import migrations

SEEN = {
    "notifications": (
        *("notification", "attempt", "batch", "bulkreplay", "faileddelivery"),
        *("provideraccount", "accountrule", "ratelimit", "queueweight", "suppression"),
    ),
    "templates_engine": ("template", "templateversion", "partial"),
    "scheduling": ("schedule", "fire"),
    "django_celery_beat": (
        *("periodictask", "crontabschedule", "intervalschedule"),
        *("clockedschedule", "solarschedule"),
    ),
    "django_celery_results": ("taskresult", "groupresult"),
}
VIEWER = [(app, f"view_{model}") for app, models in SEEN.items() for model in models]
AUTHOR = [
    *VIEWER,
    *(
        ("templates_engine", f"{verb}_{model}")
        for verb in ("add", "change", "delete")
        for model in SEEN["templates_engine"]
    ),
    ("templates_engine", "publish_templateversion"),
]
OPERATOR = [
    *VIEWER,
    ("notifications", "view_outboxmessage"),
    ("notifications", "view_content"),
    ("notifications", "cancel_notification"),
    ("notifications", "resend_notification"),
    ("notifications", "replay_faileddelivery"),
    ("notifications", "discard_faileddelivery"),
    ("notifications", "change_batch"),
    ("notifications", "add_suppression"),
    ("notifications", "change_suppression"),
    ("notifications", "change_provideraccount"),
    *(("notifications", f"{verb}_queueweight") for verb in ("add", "change", "delete")),
    ("scheduling", "change_schedule"),
    *(
        ("django_celery_beat", f"{verb}_{model}")
        for verb in ("add", "change", "delete")
        for model in SEEN["django_celery_beat"]
    ),
]
ADMIN = [
    *dict.fromkeys([*AUTHOR, *OPERATOR]),
    *(
        ("notifications", f"{verb}_{model}")
        for verb in ("add", "change", "delete")
        for model in ("provideraccount", "accountrule", "ratelimit", "queueweight")
    ),
    *(
        ("notifications", f"{verb}_apikey") for verb in ("add", "change", "delete", "view")
    ),
    *(
        ("auth", f"{verb}_{model}")
        for verb in ("add", "change", "delete", "view")
        for model in ("user", "group")
    ),
]
ROLES = {"viewer": VIEWER, "author": AUTHOR, "operator": OPERATOR, "admin": ADMIN}
NAMES = {
    "publish_templateversion": "Can publish a version or roll back to one",
    "view_content": "Can see contents and recipients",
    "cancel_notification": "Can cancel notifications",
    "resend_notification": "Can send notifications again",
    "replay_faileddelivery": "Can send failed deliveries again",
    "discard_faileddelivery": "Can discard failed deliveries",
}
MODELS = {"publish_templateversion": "templateversion", "view_content": "notification"}


def make_roles(apps, _schema_editor):
    """Make the groups. Permissions that Django makes only after all migrations are made here."""
    Group = apps.get_model("auth", "Group")
    for name, permissions in ROLES.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(*(_permission(apps, *wanted) for wanted in permissions))


def _permission(apps, app, codename):
    Permission = apps.get_model("auth", "Permission")
    ContentType = apps.get_model("contenttypes", "ContentType")
    verb, _, rest = codename.partition("_")
    model = MODELS.get(codename, rest)
    content_type, _ = ContentType.objects.get_or_create(app_label=app, model=model)
    permission, _ = Permission.objects.get_or_create(
        content_type=content_type,
        codename=codename,
        defaults={"name": NAMES.get(codename, f"Can {verb} {model}")},
    )
    return permission


def remove_roles(apps, _schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=ROLES).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_roles, remove_roles)]
