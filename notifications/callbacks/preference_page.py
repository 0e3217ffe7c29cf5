"""The page on which recipients choose what they get, behind a signed link."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils.translation import pgettext
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from notifications.callbacks import recipient_pages
from notifications.core.errors import UnknownRecipient
from notifications.models import Consent, Recipient
from notifications.recipients import categories, directory, preference_links, preferences
from notifications.recipients.categories import Kind
from notifications.recipients.preferences import (
    EVERY_CHANNEL,
    EVERYTHING,
    Change,
    Choices,
    How,
)

TEMPLATE = "notifications/preferences.html"
_PAGE = "page of preferences"  # the context of its texts in the catalogues
_signer = signing.Signer(salt="notifications.preferences.shown")


@csrf_exempt  # the address of this page is the secret
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest, token: str) -> HttpResponse:
    """Show what a recipient gets on GET, because scanners follow links; change it on POST.

    The button ``stop`` refuses at once all that can be refused.
    """
    try:
        link = preference_links.read(token)
        recipient = directory.get(link.key, world=link.world)
        with recipient_pages.in_language_of(request, recipient.locale):
            return recipient_pages.answer(
                request, TEMPLATE, _save_and_read(request.POST, recipient)
            )
    except (preference_links.BadLink, UnknownRecipient):
        with recipient_pages.in_language_of(request, ""):
            return recipient_pages.answer(request, TEMPLATE, {"state": "forged"}, status=404)


def _save_and_read(given: Mapping[str, str], recipient: Recipient) -> dict[str, Any]:
    """Write what a form chooses, if one was sent, and return what the page shows then."""
    shown = _Shown.read(given.get("shown", ""), recipient)
    stop = pgettext(_PAGE, "Stop all that can be stopped")
    if "stop" in given:
        text = "\n".join(filter(None, [stop, shown.text]))
        changes = [Change(EVERYTHING, EVERY_CHANNEL, granted=False)]
    else:
        text = shown.text
        changes = [*_changes(shown, {name for name in given if ":" in name}, recipient)]
    if changes:
        preferences.choose(recipient, changes, How(Consent.Means.PAGE, text=text))
    rows = _rows(recipient)
    return {
        "state": "saved" if "stop" in given or shown.boxes else "form",
        "rows": rows,
        "shown": _Shown.of(rows).signed(recipient),
        "stop": stop,
    }


class _Shown(NamedTuple):
    """What a form showed: its boxes by category and channel, and the text beside them.

    The form carries it, signed: only what somebody saw is written as their choice.
    """

    boxes: list[list[str]]
    text: str

    @classmethod
    def of(cls, rows: list[dict[str, Any]]) -> "_Shown":
        """Return what the page shows of these rows."""
        boxes = [box["name"].split(":") for row in rows for box in row["boxes"]]
        lines = [f"{row['title']}: {row['description']}" for row in rows]
        return cls(boxes, "\n".join(lines))

    @classmethod
    def read(cls, given: str, recipient: Recipient) -> "_Shown":
        """Return what a form says that it showed to this recipient; nothing for any other form."""
        try:
            *whose, boxes, text = _signer.unsign_object(given)
        except (signing.BadSignature, ValueError, TypeError):
            return cls([], "")
        return cls(boxes, text) if whose == [*recipient.world, recipient.key] else cls([], "")

    def signed(self, recipient: Recipient) -> str:
        """Return it as the form carries it."""
        return _signer.sign_object([*recipient.world, recipient.key, *self], compress=True)


def _channels(recipient: Recipient) -> list[str]:
    return list(dict.fromkeys(address.channel for address in recipient.addresses.all()))


def _name(category: str, channel: str) -> str:
    return f"{category}:{channel}"


def _rows(recipient: Recipient) -> list[dict[str, Any]]:
    """Return each category with a box for each channel on which they have an address."""
    return [
        {
            "title": _own_or_translated(kind.title) or kind.name,
            "description": _own_or_translated(kind.description),
            "required": kind.required,
            "boxes": []
            if kind.required
            else [
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


def _own_or_translated(text: str) -> str:
    """Return a category's text in the page's language, if a catalogue has it."""
    return pgettext("category", text) if text else ""


def _title(channel: str) -> str:
    return {
        "email": pgettext(_PAGE, "Email"),
        "sms": pgettext(_PAGE, "Text message"),
        "push": pgettext(_PAGE, "Push notification"),
        "chat": pgettext(_PAGE, "Chat"),
        "webhook": pgettext(_PAGE, "Message to your own system"),
        "simulator": pgettext(_PAGE, "Test message"),
    }.get(channel, channel)


def _changes(shown: _Shown, checked: Collection[str], recipient: Recipient) -> Iterator[Change]:
    """Return what differs from what they get now, of the boxes that they saw."""
    known = categories.of(recipient.world)
    by_channel: dict[str, list[Kind]] = defaultdict(list)
    for category, channel in shown.boxes:
        if category in known and not known[category].required:
            by_channel[channel].append(known[category])
    for channel, kinds in by_channel.items():
        choices: Choices = recipient.choices
        wanted = {kind.name: _name(kind.name, channel) in checked for kind in kinds}
        if any(wanted.values()) and preferences.refuses_everything(choices, channel):
            yield Change(EVERYTHING, channel, granted=True)
            choices = {name: of for name, of in choices.items() if name != EVERYTHING}
        for kind in kinds:
            if wanted[kind.name] is not (not preferences.held_by(kind, channel, choices)):
                yield Change(kind.name, channel, granted=wanted[kind.name])
