"""System checks of the settings, each with an id and a way out.

``manage.py check`` shows them, ``--deploy`` also what is fine on one machine but not in
production. No process starts with an error: ``refuse_errors``.
"""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004

from config.embedded_broker import socket_path_problem
from notifications.channels import smtp_connection

BROKER_SCHEMES = ("redis", "rediss", "redis+socket", "valkey", "valkeys", "amqp", "amqps", "memory")
FLOWER_GUARDS = ("FLOWER_BASIC_AUTH", "FLOWER_AUTH_PROVIDER")
REDIS_SCHEMES = ("redis", "rediss", "redis+socket", "valkey", "valkeys")


@register("config")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Errors: with these the system cannot do what was asked of it."""
    return [message for check in ERRORS for message in check()]


@register("config", Tags.security, deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """Warnings: what the embedded system uses, and a production system should not."""
    return [Warning(text, hint=hint, id=id_) for wrong, text, hint, id_ in _deployment() if wrong]


def refuse_errors() -> None:
    """End the process, a line per error, rather than run on settings that were not meant.

    Raises SystemExit.
    """
    if errors := check_settings():
        raise SystemExit("\n".join(f"{error.id}: {error.msg} {error.hint}" for error in errors))


def _bad_values() -> Iterator[Error]:
    for name, complaints in settings.BAD_VALUES.items():
        yield Error(f"{name}: {' '.join(complaints)}", hint=f"Correct {name}.", id="config.E001")


def _broker() -> Iterator[Error]:
    if not _is_address(settings.BROKER_URL, BROKER_SCHEMES):
        yield Error(
            "BROKER_URL is no address of a Redis or RabbitMQ server.",
            hint="Use redis://host:6379/0 or amqp://user:password@host:5672//, "
            "or leave it out for the embedded broker.",
            id="config.E002",
        )


def _redis() -> Iterator[Error]:
    if settings.REDIS_URL and not _is_address(settings.REDIS_URL, REDIS_SCHEMES):
        yield Error(
            "REDIS_URL is no address of a Redis server.",
            hint="Use redis://host:6379/0, or leave it out where the broker is Redis.",
            id="config.E003",
        )


def _email() -> Iterator[Error]:
    if not settings.EMAIL_URL:
        return
    try:
        smtp_connection.read_url(settings.EMAIL_URL, settings.EMAIL_FROM)
    except ValueError:  # its text may hold a part of the password
        yield Error(
            "EMAIL_URL is no address of a mail server.",
            hint="Use smtp://user:password@host:587 or smtps://user:password@host (also "
            "?starttls=require|offered|never, ?ca_file=PATH), or leave it out for the outbox.",
            id="config.E004",
        )


def _socket() -> Iterator[Error]:
    if settings.BROKER_IS_EMBEDDED and (
        problem := socket_path_problem(settings.EMBEDDED_BROKER_SOCKET)
    ):
        yield Error(problem, hint="Set VAR_DIR to a shorter folder.", id="config.E005")


def _public_url() -> Iterator[Error]:
    url = settings.PUBLIC_URL
    if url and not (_is_address(url, ("https", "http")) and urlsplit(url).hostname):
        yield Error(
            "PUBLIC_URL is no address of a web site.",
            hint="Use https://notify.example.org, or leave it out where nobody reaches this "
            "system from outside.",
            id="config.E006",
        )


def _flower() -> Iterator[Error]:
    is_flower = "flower" in sys.argv[1:]  # its options come too late to be asked
    guarded = any(os.environ.get(name) for name in FLOWER_GUARDS)
    if is_flower and settings.HTTPS and not guarded:
        yield Error(
            "Flower would be open to everybody.",
            hint="Set FLOWER_BASIC_AUTH=user:password, or FLOWER_AUTH with FLOWER_AUTH_PROVIDER.",
            id="config.E010",
        )


def _archive() -> Iterator[Error]:
    if settings.NOTIFICATIONS_ARCHIVE_MONTHS < 0:
        yield Error(
            "NOTIFICATIONS_ARCHIVE_MONTHS is below zero.",
            hint="Give the months that the archive keeps, or 0 for no archive.",
            id="config.E007",
        )


ERRORS: list[Callable[[], Iterator[Error]]] = [
    *(_flower, _bad_values, _broker, _redis, _email, _socket, _public_url, _archive),
]


def _deployment() -> list[tuple[bool, str, str, str]]:
    database = settings.DATABASES["default"]["ENGINE"]
    return [
        (
            settings.SECRET_KEY_IS_GENERATED,
            "SECRET_KEY was generated and lives in VAR_DIR: each machine would have its own.",
            "Set SECRET_KEY or SECRET_KEY_FILE to 50 random characters, the same everywhere.",
            "config.W001",
        ),
        (
            database.endswith("sqlite3"),
            "The database is SQLite: one machine, one writer at a time.",
            "Set DATABASE_URL=postgres://user:password@host/name.",
            "config.W002",
        ),
        (
            settings.BROKER_IS_EMBEDDED,
            "The broker is the embedded one, which only this machine can reach.",
            "Set BROKER_URL=redis://host:6379/0.",
            "config.W003",
        ),
        (
            not settings.EMAIL_URL,
            "Email that no provider account carries "
            + (
                "goes to the built-in outbox: nobody receives it."
                if settings.OUTBOX
                else "is refused, for OUTBOX is off."
            ),
            "Set EMAIL_URL=smtp://user:password@host:587, or add a provider account in the admin.",
            "config.W004",
        ),
        (
            not settings.HTTPS,
            "Sessions, keys and messages travel over plain HTTP.",
            "Leave HTTPS on, behind a proxy that speaks TLS (PROXY_SSL_HEADER).",
            "config.W005",
        ),
        (
            not settings.REDIS_URL,
            "There is no Redis: each worker keeps rate limits and the health of providers alone.",
            "Set REDIS_URL=redis://host:6379/0 beside a broker that is not Redis.",
            "config.W006",
        ),
        (
            not settings.PUBLIC_URL,
            "PUBLIC_URL is empty: marketing mail carries no link to unsubscribe by, and the "
            "callbacks of providers (delivered, bounced, complained) are not asked for.",
            "Set PUBLIC_URL=https://notify.example.org, where the world reaches this system.",
            "config.W007",
        ),
    ]


def _is_address(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0  # reading a bad port raises
    except ValueError:
        return False
    has_place = bool(parts.hostname or parts.path.strip("/")) or parts.scheme == "memory"
    return parts.scheme in schemes and has_port and has_place
