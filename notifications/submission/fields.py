"""The fields of a notification, typed: what ``send``, ``send_many`` and ``kwargs`` take."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

Channel = Literal["email", "sms", "push", "webhook", "chat", "simulator", "callback"]
Priority = Literal["high", "medium", "low"]
Guarantee = Literal["at_least_once", "at_most_once"]


class Attachment(TypedDict, total=False):
    """A file of a mail."""

    filename: str
    """A name without a path."""
    content_type: str
    """Like ``application/pdf``; told by the name where it is missing."""
    content: str | bytes
    """The file: bytes, or base64."""
    content_id: str
    """Of an inline picture, which the HTML shows by ``cid:`` and this id."""


class OptionalFields(TypedDict, total=False):
    """What a notification may have beside its channel and recipient."""

    template: str
    """The name of a published template; its ``context`` fills it."""
    context: Mapping[str, Any]
    """The template's variables."""
    subject: str
    """The subject of a notification without a template."""
    body: str
    """The text of a notification without a template."""
    locale: str
    """Like ``de`` or ``de-AT``: which text of the template, and how numbers and dates look."""
    priority: Priority
    """``high`` never waits behind ``medium`` or ``low``."""
    guarantee: Guarantee
    """Whether an attempt whose end nobody knows is made again."""
    idempotency_key: str
    """A second request with the same key gives the first notification back."""
    reference: str
    """Your own id, to find it by."""
    metadata: Mapping[str, Any]
    """Your own data, kept and given back."""
    retry: Mapping[str, Any]
    """Figures of the retry policy that differ from the priority's own."""
    eta: datetime | str | None
    """When it is sent."""
    countdown: float | None
    """Seconds until it is sent."""
    expires: datetime | str | float | None
    """The time, or the seconds from now, after which it is not sent any more."""
    test: bool
    """It reaches nobody."""
    callback_url: str
    """A URL that is told how it ended."""
    options: Mapping[str, Any]
    """What the provider is told beside the content, by channel."""
    project: str
    """The project whose templates, suppressions and idempotency keys count."""
    from_email: str
    """The sender of a mail: one that an account allows."""
    reply_to: str | Sequence[str]
    """Addresses to which a reply goes."""
    cc: str | Sequence[str]
    """Addresses that get a copy, and that everybody sees."""
    bcc: str | Sequence[str]
    """Addresses that get a copy, and that nobody sees."""
    headers: Mapping[str, str]
    """Headers of your own, by name."""
    html: str
    """The HTML beside ``body``."""
    attachments: Sequence[Attachment]
    """Files of the mail."""


class CommonFields(OptionalFields, total=False):
    """The fields that the rows of a batch may share."""

    channel: Channel
    """By which way it goes."""
    recipient: str
    """An address of the channel: a mail address, a phone number, a token, a URL."""


class Fields(OptionalFields):
    """The fields of one notification."""

    channel: Channel
    """By which way it goes."""
    recipient: str
    """An address of the channel: a mail address, a phone number, a token, a URL."""
