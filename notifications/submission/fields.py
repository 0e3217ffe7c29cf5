"""The fields of a notification: typed as ``send`` takes them, as a request, and as accepted.

A new field is written here, in the model and in the API; and in ``core.attempt`` if providers
shall see it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from notifications.channels.mail import KeptMail, Mail
from notifications.core import retry, routing
from notifications.core.world import DEFAULT_PROJECT
from notifications.submission.digest_fields import Spec
from templates_engine.rendering import CompiledVersion

Channel = Literal["email", "sms", "push", "webhook", "chat", "simulator", "callback"]
Priority = Literal["high", "medium", "low"]
Guarantee = Literal["at_least_once", "at_most_once"]


class Attachment(TypedDict, total=False):
    """A file of a mail."""

    filename: str
    """A name without a path."""
    content_type: str
    """Like ``application/pdf``; guessed from the file name if it is missing."""
    content: str | bytes
    """The file: bytes, or base64."""
    content_id: str
    """Of an inline picture, which the HTML shows by ``cid:`` and this id."""


class DigestFields(TypedDict):
    """The digest that an event goes with."""

    key: str
    """What is collected together for one recipient, like ``comments-on-7``."""
    window: float
    """Seconds for which it collects."""
    template: str
    """The digest's template: it gets ``items``, ``count`` and ``rest``."""
    first: NotRequired[Literal["together", "at_once"]]
    """Whether the first event waits for the others, or goes at once."""
    limit: NotRequired[int]
    """How many events the template gets at most."""


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
    local_time: str
    """When it is sent where the recipient is: ``09:00``, the next one, or ``2026-12-24T09:00``."""
    expires: datetime | str | float | None
    """The time, or the seconds from now, after which it is not sent any more."""
    test: bool
    """It reaches nobody."""
    callback_url: str
    """A URL that is told how it ended."""
    options: Mapping[str, Any]
    """What the provider is told beside the content, by channel."""
    to: Mapping[str, str] | None
    """``{"recipient": "customer-17"}``: a stored recipient in place of an address."""
    category: str
    """What recipients may refuse it as: ``billing``, ``marketing``, or one of the project's."""
    digest: DigestFields | None
    """The digest that it goes with, in place of going by itself."""
    account: str
    """The name of the provider account that alone may send it."""
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
    recipient: NotRequired[str]
    """An address of the channel: a mail address, a phone number, a token, a URL. Needed without
    ``to``; with it, in place of the stored addresses."""


class Request(NamedTuple):
    """What may be asked for. Either a ``template`` with its ``context``, or a ``body``.

    ``recipient`` is an address. ``to`` is the id of a stored recipient, whose addresses are meant
    unless there is one, too.

    ``eta`` is a time and ``countdown`` a number of seconds; ``expires`` is either. A time
    as text has its offset; a ``datetime`` without one is in the current Django time zone.
    ``retry`` holds figures of a ``RetryPolicy`` that differ from the priority's own. ``test`` is
    for a caller that must not reach anybody. ``callback_url`` is told, by a signed POST, how the
    notification ended. ``options`` are what the provider is told beside the content
    (``channels.options``). ``project`` names whose it is: its templates, suppressions and
    idempotency keys count. ``mail`` holds what only a mail has (``channels.mail``); ``read`` takes
    its fields one by one.
    """

    channel: str
    recipient: str = ""
    template: str = ""
    context: Mapping[str, Any] | None = None
    subject: str = ""
    body: str = ""
    locale: str = ""
    priority: str | int = routing.DEFAULT_PRIORITY
    guarantee: str = retry.Guarantee.AT_LEAST_ONCE
    idempotency_key: str = ""
    reference: str = ""
    metadata: Mapping[str, Any] | None = None
    retry: Mapping[str, Any] | None = None
    eta: datetime | str | None = None
    countdown: float | None = None
    expires: datetime | str | float | None = None
    test: bool = False
    callback_url: str = ""
    options: Mapping[str, Any] | None = None
    project: str = DEFAULT_PROJECT
    mail: Mapping[str, Any] | Mail | KeptMail | None = None
    to: str | None = None
    category: str = ""
    local_time: str = ""
    digest: Mapping[str, Any] | None = None
    account: str = ""


# What needs no check of its own: texts, with the most characters that each may have, and JSON.
TEXTS = {"locale": 35, "idempotency_key": 255, "reference": 255, "account": 50}
OBJECTS = ("metadata",)


class Accepted(NamedTuple):
    """A request whose every field has been checked, in the form that is kept.

    ``scheduled_at`` is None for "now", which the database's clock decides.
    """

    channel: str
    priority: str
    recipient: str
    template_version: CompiledVersion | None
    locale: str
    context: dict[str, Any]
    subject: str
    body: str
    guarantee: str
    idempotency_key: str
    reference: str
    metadata: dict[str, Any]
    retry: dict[str, Any] | None
    scheduled_at: datetime | None
    expires_at: datetime | None
    test: bool
    callback_url: str
    options: dict[str, Any]
    project: str
    mail: Mail | KeptMail | None = None
    recipient_key: str = ""
    category: str = ""
    digest: Spec | None = None
    account: str = ""
