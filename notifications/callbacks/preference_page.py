"""The page on which recipients choose what they get, behind a signed link."""

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from notifications.core.errors import UnknownRecipient
from notifications.models import Consent, Recipient
from notifications.recipients import categories, directory, preference_links, preferences
from notifications.recipients.preferences import EVERYTHING, Change, Choices, How

TEMPLATE = "notifications/preferences.html"


@csrf_exempt  # the address of this page is the secret
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest, token: str) -> HttpResponse:
    """Show what a recipient gets on GET, because scanners follow links; change it on POST.

    The button ``stop`` refuses at once all that can be refused.
    """
    try:
        link = preference_links.read(token)
        recipient = directory.get(link.key, world=link.world)
    except (preference_links.BadLink, UnknownRecipient):
        return _answer(request, {"state": "forged"}, status=404)
    with translation.override(recipient.locale or translation.get_language()):
        saved = request.method == "POST"
        if saved:
            text = _text(recipient)
            changes = [*_changes(request, recipient)]
            preferences.choose(recipient, changes, How(Consent.Means.PAGE, text=text))
        return _answer(request, {"state": "saved" if saved else "form", "rows": _rows(recipient)})


def _channels(recipient: Recipient) -> list[str]:
    return list(dict.fromkeys(one.channel for one in recipient.addresses.all()))


def _name(category: str, channel: str) -> str:
    return f"{category}:{channel}"


def _rows(recipient: Recipient) -> list[dict[str, Any]]:
    """Return each category with a box for each channel on which they have an address."""
    return [
        {
            "kind": kind,
            "title": kind.title or kind.name,
            "boxes": [
                {
                    "name": _name(kind.name, channel),
                    "channel": _title(channel),
                    "checked": not preferences.held_by(kind, channel, recipient.choices),
                }
                for channel in _channels(recipient)
            ],
        }
        for kind in categories.of(recipient.world).values()
    ]


def _title(channel: str) -> str:
    return {
        "email": gettext("Email"),
        "sms": gettext("Text message"),
        "push": gettext("Push notification"),
        "chat": gettext("Chat"),
    }.get(channel, channel)


def _changes(request: HttpRequest, recipient: Recipient) -> Iterator[Change]:
    """Return what differs from what they get now."""
    channels = _channels(recipient)
    if "stop" in request.POST:
        yield from (Change(EVERYTHING, channel, granted=False) for channel in channels)
        return
    checked = {name for name in request.POST if ":" in name}
    kinds = [kind for kind in categories.of(recipient.world).values() if not kind.required]
    for channel in channels:
        choices: Choices = recipient.choices
        wanted = {kind.name: _name(kind.name, channel) in checked for kind in kinds}
        if any(wanted.values()) and choices.get(EVERYTHING, {}).get(channel) is False:
            yield Change(EVERYTHING, channel, granted=None)
            choices = {name: of for name, of in choices.items() if name != EVERYTHING}
        for kind in kinds:
            if wanted[kind.name] is not (not preferences.held_by(kind, channel, choices)):
                yield Change(kind.name, channel, granted=wanted[kind.name])


def _text(recipient: Recipient) -> str:
    """Return what they read when they chose."""
    kinds = categories.of(recipient.world).values()
    return "\n".join(f"{kind.title or kind.name}: {kind.description}" for kind in kinds)


def _answer(request: HttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    response = render(request, TEMPLATE, context, status=status)
    response["Referrer-Policy"] = "no-referrer"  # the address of this page is the secret
    response["Cache-Control"] = "no-store"
    return response
