"""System checks of the project that this app is part of."""

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DEFAULT_DB_ALIAS, router

APPS = ("notifications", "scheduling", "templates_engine", "django_celery_beat")


@register(Tags.database)
def one_database(**_: Any) -> list[CheckMessage]:
    """Find models that a router sends elsewhere.

    A notification, its template and its schedule are written in one transaction, and read where
    they were just written: they need one database, and no replica for reading.
    """
    elsewhere = sorted(
        model._meta.label
        for app in APPS
        for model in apps.get_app_config(app).get_models()
        if {router.db_for_read(model), router.db_for_write(model)} != {DEFAULT_DB_ALIAS}
    )
    if not elsewhere:
        return []
    return [
        Error(
            f"A database router sends {len(elsewhere)} models elsewhere than to "
            f"{DEFAULT_DB_ALIAS!r}: {', '.join(elsewhere[:3])}.",
            hint=f"Have DATABASE_ROUTERS leave the apps {', '.join(APPS)} alone, for reading, too.",
            id="notifications.E001",
        )
    ]
