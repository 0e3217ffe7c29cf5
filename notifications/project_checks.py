"""System checks of a project that notifications were added to: what it still lacks."""

import os
from collections.abc import Iterator
from typing import Any

from celery import current_app
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 -- Django's own name
from django.db import connection
from django.urls import NoReverseMatch, reverse

from notifications import celery as celery_setup
from notifications.settings import NOTIFICATIONS_APPS, NOTIFICATIONS_MIDDLEWARE


@register("notifications")
def check_project(**_: Any) -> list[CheckMessage]:
    """Errors: without these, what is accepted is not sent, or not as promised. Warnings: a part."""
    return [
        *(*_apps(), *_middleware(), *_time_zones(), *_celery(), *_sqlite()),
        *(*_broker(), *_email(), *_addresses(), *_public_address()),
    ]


def _apps() -> Iterator[CheckMessage]:
    installed = {config.name for config in apps.get_app_configs()}
    wanted = {name.partition(".apps.")[0]: name for name in NOTIFICATIONS_APPS}
    if missing := [name for package, name in wanted.items() if package not in installed]:
        yield Error(
            f"INSTALLED_APPS lacks {', '.join(missing)}.",
            hint="Use INSTALLED_APPS = [*NOTIFICATIONS_APPS, …].",
            id="notifications.E003",
        )


def _middleware() -> Iterator[CheckMessage]:
    if list(settings.MIDDLEWARE[: len(NOTIFICATIONS_MIDDLEWARE)]) != NOTIFICATIONS_MIDDLEWARE:
        yield Error(
            "MIDDLEWARE does not begin with the middleware of notifications.",
            hint="Use MIDDLEWARE = [*NOTIFICATIONS_MIDDLEWARE, …].",
            id="notifications.E004",
        )


def _time_zones() -> Iterator[CheckMessage]:
    if not settings.USE_TZ:
        yield Error(
            "USE_TZ is off: due times would have no zone.",
            hint="Set USE_TZ = True.",
            id="notifications.E005",
        )


def _celery() -> Iterator[CheckMessage]:
    if problem := celery_setup.problem_of(current_app):
        yield problem


def _sqlite() -> Iterator[CheckMessage]:
    options = settings.DATABASES["default"].get("OPTIONS", {})
    if connection.vendor == "sqlite" and options.get("transaction_mode") != "IMMEDIATE":
        yield Warning(
            "Several processes write to this SQLite database: some writes would fail as locked.",
            hint='Set DATABASES["default"]["OPTIONS"]["transaction_mode"] = "IMMEDIATE", or use '
            "Postgres.",
            id="notifications.W001",
        )


def _broker() -> Iterator[CheckMessage]:
    default = getattr(settings, "BROKER_URL_DEFAULT", None)
    given = not {"BROKER_URL", "BROKER_URL_FILE"}.isdisjoint(os.environ)
    if not given and default is not None and default == settings.BROKER_URL:
        yield Warning(
            f"BROKER_URL is not set: a Redis is expected at {default}.",
            hint="Set the environment variable BROKER_URL, like redis://host:6379/0.",
            id="notifications.W002",
        )


def _email() -> Iterator[CheckMessage]:
    if not getattr(settings, "EMAIL_URL", "") and not getattr(settings, "OUTBOX", False):
        yield Warning(
            "EMAIL_URL is not set: email is refused, unless a provider account carries it.",
            hint="Set EMAIL_URL=smtp://user:password@host:587, or OUTBOX=1 while you develop. "
            "Silence it by SILENCED_SYSTEM_CHECKS where accounts of the admin carry all email.",
            id="notifications.W003",
        )


def _addresses() -> Iterator[CheckMessage]:
    try:
        reverse("api:openapi-json")
    except NoReverseMatch:
        yield Warning(
            "ROOT_URLCONF does not include the URLs of notifications: the API, receipts of "
            "providers and links to unsubscribe do not work.",
            hint='Add to its urlpatterns: path("", include("notifications.urls"))',
            id="notifications.W004",
        )


def _public_address() -> Iterator[CheckMessage]:
    if not settings.PUBLIC_URL and not settings.DEBUG and not getattr(settings, "OUTBOX", False):
        yield Warning(
            "PUBLIC_URL is not set: messages have no links to unsubscribe or to the page of "
            "preferences, and providers cannot send callbacks.",
            hint="Set PUBLIC_URL=https://notify.example.org, where the world reaches this system. "
            "Silence it by SILENCED_SYSTEM_CHECKS if you need none of these.",
            id="notifications.W005",
        )
