"""System checks of the settings that notifications need, in whichever project they are.

No process starts with an error: ``refuse_errors``.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from notifications.channels import addresses, allowed_senders, return_paths
from notifications.core import extras
from notifications.core.conf import conf
from notifications.core.environment import bad_values
from notifications.core.setting_values import is_web_address
from notifications.db.checks import one_database
from notifications.providers import smtp_connection
from notifications.providers.smtp import SmtpProvider
from scheduling import redis_address
from templates_engine.formatting import is_locale

OTHER_BROKERS = ("amqp", "amqps", "memory")
TRACING_PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")


@register("notifications")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Errors: with these the system cannot do what was asked of it."""
    return [message for check in ERRORS for message in check()]


def refuse_errors() -> None:
    """End the process, a line per error, rather than run on settings that were not meant.

    Raises SystemExit.
    """
    errors = check_settings()
    if apps.ready:  # Celery's app is configured before Django's are loaded
        errors += one_database()
    end_with(errors)


def end_with(errors: list[CheckMessage]) -> None:
    """Raise SystemExit, with a line per error, if there are any."""
    if errors:
        raise SystemExit("\n".join(f"{error.id}: {error.msg} {error.hint}" for error in errors))


def _bad_values() -> Iterator[Error]:
    for name, complaints in bad_values().items():
        yield Error(f"{name}: {' '.join(complaints)}", hint=f"Correct {name}.", id="config.E001")


def _broker() -> Iterator[Error]:
    if _is_address(settings.BROKER_URL, OTHER_BROKERS):
        return
    if problem := _redis_problem(settings.BROKER_URL):
        yield Error(
            f"BROKER_URL is not an address of a Redis or RabbitMQ server. {problem}",
            hint="Use redis://host:6379/0 or amqp://user:password@host:5672//, "
            "or leave it out for the embedded broker.",
            id="config.E002",
        )


def _redis() -> Iterator[Error]:
    if settings.REDIS_URL and (problem := _redis_problem(settings.REDIS_URL)):
        yield Error(
            f"REDIS_URL is not an address of a Redis server. {problem}",
            hint="Use redis://host:6379/0, or leave it out where the broker is Redis.",
            id="config.E003",
        )


def _email_from() -> Iterator[Error]:
    try:
        addresses.sender(settings.EMAIL_FROM)
    except addresses.BadAddress as error:
        yield Error(
            f"EMAIL_FROM is not a sender. {error}",
            hint="Use an address, or a name and an address: Shop <shop@example.org>.",
            id="config.E011",
        )
    for problem in return_paths.problems({"return_path": settings.EMAIL_RETURN_PATH}):
        yield Error(
            f"EMAIL_RETURN_PATH cannot be used. {problem}",
            hint="Use an address alone: bounces@shop.example.",
            id="config.E014",
        )


def _email_dkim() -> Iterator[Error]:
    if settings.EMAIL_DKIM_KEY and not settings.EMAIL_DKIM_SELECTOR:
        yield Error(
            "EMAIL_DKIM_SELECTOR is empty, and EMAIL_DKIM_KEY is set.",
            hint="Set EMAIL_DKIM_SELECTOR to the name before ._domainkey in the key's TXT record.",
            id="config.E015",
        )
    if settings.EMAIL_DKIM_KEY and (
        problem := SmtpProvider.secret_problem("dkim_key", settings.EMAIL_DKIM_KEY)
    ):
        yield Error(
            f"EMAIL_DKIM_KEY cannot be used. {problem}",
            hint="Name its file in EMAIL_DKIM_KEY_FILE (docs/email.md, “Signatures”).",
            id="config.E017",
        )


def _email_ehlo() -> Iterator[Error]:
    try:
        if settings.EMAIL_EHLO:
            smtp_connection.check_ehlo(settings.EMAIL_EHLO)
    except ValueError:
        yield Error(
            "EMAIL_EHLO is not a valid name for EHLO.",
            hint="Use this machine's full name, like mx.example.org, or an address in brackets, "
            "like [192.0.2.1].",
            id="config.E012",
        )


def _email() -> Iterator[Error]:
    if not settings.EMAIL_URL:
        return
    try:
        smtp_connection.read_url(settings.EMAIL_URL)
    except ValueError:  # its text may hold a part of the password
        yield Error(
            "EMAIL_URL is not an address of a mail server.",
            hint="Use smtp://user:password@host:587 or smtps://user:password@host (also "
            "?starttls=require|offered|never, ?ca_file=PATH), or leave it out for the outbox.",
            id="config.E004",
        )


def _public_url() -> Iterator[Error]:
    if settings.PUBLIC_URL and not is_web_address(settings.PUBLIC_URL):
        yield Error(
            "PUBLIC_URL is not an address of a web site.",
            hint="Use https://notify.example.org, or leave it out where nobody reaches this "
            "system from outside.",
            id="config.E006",
        )


def _attachment_storage() -> Iterator[Error]:
    name = conf.attachment_storage
    if name and name not in settings.STORAGES:
        yield Error(
            f"NOTIFICATIONS_ATTACHMENT_STORAGE names {name}, which STORAGES has not.",
            hint="Add it to STORAGES, or leave it out: the database keeps attachments.",
            id="config.E022",
        )
    elif name and not _is_installed(backend := settings.STORAGES[name].get("BACKEND", "")):
        is_s3 = backend.startswith("storages.")
        yield Error(
            f"NOTIFICATIONS_ATTACHMENT_STORAGE names {name}, whose BACKEND is not there: {backend}",
            hint=f"Install it: {extras.command('s3')}" if is_s3 else "Correct STORAGES.",
            id="config.E022",
        )


def _smtp_server() -> Iterator[Error]:
    pair = (settings.SMTP_SERVER_CERT, settings.SMTP_SERVER_KEY)
    if any(pair) != all(pair) or (settings.SMTP_SERVER_IMPLICIT_TLS and not any(pair)):
        yield Error(
            "SMTP_SERVER_CERT and SMTP_SERVER_KEY go together, and TLS needs both.",
            hint="Set both, or neither and no SMTP_SERVER_IMPLICIT_TLS.",
            id="config.E023",
        )


def _default_locale() -> Iterator[Error]:
    name = settings.TEMPLATES_DEFAULT_LOCALE
    if name and not is_locale(name):
        yield Error(
            f"TEMPLATES_DEFAULT_LOCALE is not a locale: {name!r}.",
            hint="Use a language, or a language and a country: de, de-AT.",
            id="config.E025",
        )


def _lease() -> Iterator[Error]:
    longest = (conf.provider_timeout or 0) + (conf.batch_time_limit or 0)
    if conf.lease is not None and conf.lease <= longest:
        yield Error(
            f"NOTIFICATIONS_LEASE is {conf.lease:g} s, and a batch may take {longest:g} s: "
            "what is still being sent would be claimed and sent again.",
            hint="Make it longer than NOTIFICATIONS_PROVIDER_TIMEOUT and "
            "NOTIFICATIONS_BATCH_TIME_LIMIT together.",
            id="config.E018",
        )


def _email_senders() -> Iterator[Error]:
    for problem in allowed_senders.problems({"senders": settings.EMAIL_SENDERS or []}):
        yield Error(
            f"EMAIL_SENDERS cannot be used. {problem.removeprefix('senders: ')}",
            hint="Separate several by commas.",
            id="config.E019",
        )


def _tracing() -> Iterator[Error]:
    if settings.NOTIFICATIONS_TRACING and not all(map(_is_installed, TRACING_PACKAGES)):
        yield Error(
            "NOTIFICATIONS_TRACING is on, and OpenTelemetry is not installed.",
            hint=f"Install it: {extras.command('otel')}",
            id="config.E016",
        )


# Those that need the models are in `provider_checks`: Celery's app is configured before them.
ERRORS: list[Callable[[], Iterator[Error]]] = [
    *(_bad_values, _broker, _redis, _email, _email_from, _email_ehlo, _email_dkim),
    *(_email_senders, _public_url, _lease, _tracing),
    *(_attachment_storage, _smtp_server, _default_locale),
]


def _is_installed(name: str) -> bool:
    """Return whether a package is there, or the module of a class."""
    package = name.rpartition(".")[0] if name.rpartition(".")[2][:1].isupper() else name
    try:
        return bool(package) and find_spec(package) is not None
    except ModuleNotFoundError:  # nor is what it is a part of
        return False


def _redis_problem(url: str) -> str:
    """Say what is wrong with a Redis' address; empty if nothing is."""
    try:
        redis_address.read(url)
    except redis_address.BadRedisAddress as problem:
        return str(problem)
    return ""


def _is_address(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0  # reading a bad port raises
    except ValueError:
        return False
    has_place = bool(parts.hostname or parts.path.strip("/")) or parts.scheme == "memory"
    return parts.scheme in schemes and has_port and has_place
