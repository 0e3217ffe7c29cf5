"""System checks of the settings, each with an id and a way out.

``manage.py check`` shows them, ``--deploy`` also what is fine on one machine but not in
production. No process starts with an error: ``refuse_errors``.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 -- Django's own name

from config.embedded_broker import socket_path_problem
from notifications.core import private_files
from notifications.core.setting_values import is_web_address
from notifications.worker import checks


@register("config")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Errors of what only this project has: the embedded broker and Flower."""
    return [message for check in ERRORS for message in check()]


@register("config", Tags.security, deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """Warnings: what the embedded system uses, and a production system should not."""
    return [Warning(text, hint=hint, id=id_) for wrong, text, hint, id_ in _deployment() if wrong]


def refuse_errors() -> None:
    """End the process, a line per error, rather than run on settings that were not meant.

    Raises SystemExit.
    """
    checks.refuse_errors()
    checks.end_with(check_settings())


def _socket() -> Iterator[Error]:
    if settings.BROKER_IS_EMBEDDED and (
        problem := socket_path_problem(settings.EMBEDDED_BROKER_SOCKET)
    ):
        yield Error(problem, hint="Set VAR_DIR to a shorter folder.", id="config.E005")


def _issuer() -> Iterator[Error]:
    if settings.ADMIN_OIDC_ISSUER and not _is_guarded(settings.ADMIN_OIDC_ISSUER):
        yield Error(
            "ADMIN_OIDC_ISSUER must be an address that begins with https://: otherwise an "
            "attacker on the network could log in.",
            hint="Set ADMIN_OIDC_ISSUER=https://login.example.org.",
            id="config.E027",
        )
    if settings.ADMIN_OIDC_ISSUER and not settings.ADMIN_OIDC_CLIENT_ID:
        yield Error(
            "ADMIN_OIDC_CLIENT_ID is empty, and ADMIN_OIDC_ISSUER is set.",
            hint="Set it to the id that the issuer gave this system.",
            id="config.E026",
        )


def _is_guarded(url: str) -> bool:
    """Return whether this is the address of a web site by TLS, or on this machine."""
    if not is_web_address(url):
        return False
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


ERRORS: list[Callable[[], Iterator[Error]]] = [_socket, _issuer]


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
            settings.EMAIL_FROM == settings.EMAIL_FROM_DEFAULT,
            f"EMAIL_FROM is {settings.EMAIL_FROM_DEFAULT}: few mail servers accept mail from this "
            "address.",
            "Set EMAIL_FROM=notify@example.org, a sender of your own domain.",
            "config.W011",
        ),
        (
            not settings.HTTPS,
            "Sessions, keys and messages travel over plain HTTP.",
            "Leave HTTPS on, behind a proxy that speaks TLS (PROXY_SSL_HEADER)."
            if settings.IN_PRODUCTION
            else "Set ALLOWED_HOSTS=notify.example.org, the names of this system, and DEBUG off. "
            "HTTPS is on then, which also mends security.W004, W008, W012 and W016. Behind a proxy "
            "that speaks TLS, set PROXY_SSL_HEADER, too.",
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
            "PUBLIC_URL is empty: marketing mail has no unsubscribe link, and providers are not "
            "asked for callbacks (delivered, bounced, complained).",
            "Set PUBLIC_URL=https://notify.example.org, where the world reaches this system.",
            "config.W007",
        ),
        (
            settings.HTTPS and not settings.PROXY_SSL_HEADER,
            "HTTPS is on, and PROXY_SSL_HEADER is empty: behind a proxy, a page is answered by a "
            "redirect, for ever, and a request that changes something through the API by 403.",
            "Set PROXY_SSL_HEADER=X-Forwarded-Proto, if the proxy sets it and strips the client's.",
            "config.W008",
        ),
        (
            not settings.METRICS_TOKEN,
            "METRICS_TOKEN is empty: only this machine may read /metrics.",
            "Set METRICS_TOKEN, or METRICS_TOKEN_FILE, and have Prometheus send it as a bearer.",
            "config.W009",
        ),
        (
            bool(private_files.open_to_others(settings.VAR_DIR)),
            "VAR_DIR or a secret in it is open to other users, and belongs to another user or "
            "holds other files.",
            "Set VAR_DIR to a folder of its own, or have its owner run chmod -R go-rwx on it.",
            "config.W010",
        ),
    ]
