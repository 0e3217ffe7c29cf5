"""The kinds of provider: a plain dict is the registry, and other packages add to it.

A package adds a kind by an entry point in the group ``notifications.providers``, whose name is
the kind and whose object is a ``Provider``.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from django.utils.module_loading import import_string

from notifications.channels.base import Content, Fit, Provider
from notifications.core import extras

ENTRY_POINTS = "notifications.providers"

# By name, so that a worker loads the libraries of the providers that it uses.
KINDS: dict[str, str] = {
    "anymail": "notifications.providers.anymail_service.AnymailProvider",
    "apprise": "notifications.providers.apprise_url.AppriseProvider",
    "discord": "notifications.providers.discord.DiscordProvider",
    "fcm": "notifications.providers.fcm.FcmProvider",
    "outbox": "notifications.providers.outbox.OutboxProvider",
    "simulator": "notifications.providers.simulator.SimulatorProvider",
    "slack": "notifications.providers.slack.SlackProvider",
    "smtp": "notifications.providers.smtp.SmtpProvider",
    "sns": "notifications.providers.sns.SnsProvider",
    "teams": "notifications.providers.teams.TeamsProvider",
    "telegram": "notifications.providers.telegram.TelegramProvider",
    "twilio": "notifications.providers.twilio.TwilioProvider",
    "webpush": "notifications.providers.webpush.WebPushProvider",
    "webhook": "notifications.providers.webhook.WebhookProvider",
}


OF_ANY_KIND = {"connections": "How many calls, or connections, a process makes at once."}
MOST_CONNECTIONS = 256


# What brings the libraries of kinds that few need (``core.extras``).
EXTRAS = {
    "anymail": "anymail",
    "apprise": "apprise",
    "fcm": "push",
    "sns": "aws",
    "webpush": "push",
}


class UnknownKind(LookupError):
    """No provider has this name, or its library is not installed."""


def names() -> list[str]:
    """Name all kinds there are."""
    return sorted({*KINDS, *(entry_point.name for entry_point in entry_points(group=ENTRY_POINTS))})


@cache
def provider_class(kind: str) -> type[Provider]:
    """Load a kind's class. Raises ``UnknownKind``."""
    if kind in KINDS:
        return _checked(kind, _ours(kind))
    for entry_point in entry_points(group=ENTRY_POINTS, name=kind):
        return _checked(kind, entry_point.load())
    raise UnknownKind(f"There is no provider {kind!r}. Use one of: {', '.join(names())}.")


def fit(kind: str, recipient: str) -> Fit:
    """Tell how well a recipient suits a kind of provider; one that is unknown says no to none."""
    try:
        return provider_class(kind).takes(recipient)
    except UnknownKind:  # each attempt says so
        return Fit.POSSIBLE


def refuses(kind: str, content: Content) -> str:
    """Return why no account of a kind could ever send this content, ``""`` if one could."""
    try:
        return provider_class(kind).refuses(content)
    except UnknownKind:
        return ""


def carries(kind: str, option: str) -> bool:
    """Return whether a kind carries an option; one that is unknown says no to none."""
    try:
        return option in provider_class(kind).option_names
    except UnknownKind:
        return True


def problems(
    kind: str, channel: str, settings: Mapping[str, Any], secrets: Mapping[str, str]
) -> dict[str, list[str]]:
    """Say what is wrong with an account of this kind, by field; empty if nothing is."""
    try:
        provider = provider_class(kind)
    except UnknownKind as error:
        return {"kind": [str(error)]}
    problems: dict[str, list[str]] = {}
    optional = provider.optional | OF_ANY_KIND.keys()
    if channel not in provider.channels:
        problems["channel"] = [f"{kind} carries {', '.join(provider.channels)}."]
    for field, given, known in (
        ("settings", settings, provider.setting_names),
        ("secrets", secrets, provider.secret_names),
    ):
        complaints = _complaints(
            given,
            {**known, **OF_ANY_KIND} if field == "settings" else known,
            optional,
            provider.without,
        )
        if complaints:
            problems[field] = complaints
    if "settings" not in problems:
        wrong = [*_of_any_kind(settings), *provider.setting_problems(settings)]
        problems |= {"settings": wrong} if wrong else {}
    return problems


def secret_problem(kind: str, name: str, value: str) -> str:
    """Say why a secret of this kind cannot be used, ``""`` if it can, as far as it can be seen."""
    try:
        return provider_class(kind).secret_problem(name, value)
    except UnknownKind:  # each attempt says so
        return ""


def _ours(kind: str) -> object:
    try:
        return import_string(KINDS[kind])
    except ModuleNotFoundError as error:
        if kind not in EXTRAS:
            raise
        raise UnknownKind(
            f"The library of {kind} is not installed ({error.name}): {extras.command(EXTRAS[kind])}"
        ) from None


def _of_any_kind(settings: Mapping[str, Any]) -> list[str]:
    given = settings.get("connections", 1)
    if type(given) is int and 1 <= given <= MOST_CONNECTIONS:
        return []
    return [f"connections: It must be a number from 1 to {MOST_CONNECTIONS}."]


def _complaints(
    given: object,
    known: Mapping[str, str],
    optional: frozenset[str],
    without: Mapping[str, str],
) -> list[str]:
    if not isinstance(given, Mapping):
        return ["It must be a JSON object."]
    return [
        *(f"{name} is missing: {known[name]}" for name in known.keys() - given.keys() - optional),
        *(
            f"There is no {name!r}. {without.get(name, '')}".strip()
            for name in given.keys() - known.keys()
        ),
    ]


def _checked(kind: str, class_: object) -> type[Provider]:
    if not (isinstance(class_, type) and issubclass(class_, Provider)):
        raise UnknownKind(f"{kind!r} names {class_!r}, which is no Provider.")
    return class_
