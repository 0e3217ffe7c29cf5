"""The kinds of provider: a plain dict is the registry, and other packages add to it.

A package adds a kind by an entry point in the group ``notifications.providers``, whose name is
the kind and whose object is a ``Provider``.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from django.utils.module_loading import import_string

from notifications.channels.base import Provider

ENTRY_POINTS = "notifications.providers"

# By name, so that a worker loads the libraries of the providers that it uses.
KINDS: dict[str, str] = {
    "anymail": "notifications.channels.anymail_service.AnymailProvider",
    "apprise": "notifications.channels.apprise_url.AppriseProvider",
    "fcm": "notifications.channels.fcm.FcmProvider",
    "outbox": "notifications.channels.outbox.OutboxProvider",
    "simulator": "notifications.channels.simulator.SimulatorProvider",
    "slack": "notifications.channels.slack.SlackProvider",
    "smtp": "notifications.channels.smtp.SmtpProvider",
    "sns": "notifications.channels.sns.SnsProvider",
    "twilio": "notifications.channels.twilio.TwilioProvider",
    "webpush": "notifications.channels.webpush.WebPushProvider",
    "webhook": "notifications.channels.webhook.WebhookProvider",
}


class UnknownKind(LookupError):
    """No provider has this name."""


def names() -> list[str]:
    """Name all kinds there are."""
    return sorted({*KINDS, *(found.name for found in entry_points(group=ENTRY_POINTS))})


@cache
def provider_class(kind: str) -> type[Provider]:
    """Load a kind's class. Raises ``UnknownKind``."""
    if kind in KINDS:
        return _checked(kind, import_string(KINDS[kind]))
    for found in entry_points(group=ENTRY_POINTS, name=kind):
        return _checked(kind, found.load())
    raise UnknownKind(f"There is no provider {kind!r}. There are {', '.join(names())}.")


def problems(
    kind: str, channel: str, settings: Mapping[str, Any], secrets: Mapping[str, str]
) -> dict[str, list[str]]:
    """Say what is wrong with an account of this kind, by field; empty if nothing is."""
    try:
        provider = provider_class(kind)
    except UnknownKind as error:
        return {"kind": [str(error)]}
    found: dict[str, list[str]] = {}
    if channel not in provider.channels:
        found["channel"] = [f"{kind} carries {', '.join(provider.channels)}."]
    for field, given, known in (
        ("settings", settings, provider.setting_names),
        ("secrets", secrets, provider.secret_names),
    ):
        complaints = _complaints(given, known, provider.optional)
        if complaints:
            found[field] = complaints
    return found


def _complaints(given: object, known: Mapping[str, str], optional: frozenset[str]) -> list[str]:
    if not isinstance(given, Mapping):
        return ["It must be a JSON object."]
    return [
        *(f"{name} is missing: {known[name]}" for name in known.keys() - given.keys() - optional),
        *(f"There is no {name!r}." for name in given.keys() - known.keys()),
    ]


def _checked(kind: str, found: object) -> type[Provider]:
    if not (isinstance(found, type) and issubclass(found, Provider)):
        raise UnknownKind(f"{kind!r} names {found!r}, which is no Provider.")
    return found
