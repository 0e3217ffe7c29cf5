"""A request for a notification: its fields, as they are asked for and as they are accepted."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from notifications.channels import mail as mails
from notifications.channels.mail import KeptMail, Mail
from notifications.core import errors, retry, routing
from notifications.core.world import DEFAULT_PROJECT
from templates_engine.rendering import CompiledVersion


class Request(NamedTuple):
    """What may be asked for. Either a ``template`` with its ``context``, or a ``body``.

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
    recipient: str
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


_FIELDS = frozenset(Request._fields) - {"mail"} | mails.FIELDS.keys()
_OF_MAIL = mails.FIELDS.keys()
_REQUIRED = ("channel", "recipient")


# What needs no check of its own: texts, with the most characters that each may have, and JSON.
TEXTS = {"locale": 35, "idempotency_key": 255, "reference": 255}
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


def read(given: Mapping[str, Any]) -> Request:
    """Make a request of keyword arguments. Raises ``UnknownArgument`` or ``InvalidField``."""
    unknown = given.keys() - _FIELDS
    if unknown == {"mail"} and isinstance(given["mail"], Mail | KeptMail | None):
        unknown = set()  # from inside: no other entry point can make such an object
    if unknown:
        name = min(map(str, unknown))
        raise errors.UnknownArgument(
            f"A notification has no field {name!r}.",
            field=name,
            hint=f"It has {', '.join(sorted(_FIELDS))}.",
        )
    for name in _REQUIRED:
        if not given.get(name):
            raise errors.InvalidField(f"A notification needs a {name}.", field=name)
    if _OF_MAIL.isdisjoint(given):
        return Request(**given)
    rest = {name: value for name, value in given.items() if name not in _OF_MAIL}
    return Request(**rest, mail={name: given[name] for name in _OF_MAIL if name in given})


def prepared(common: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read once what many requests share and would each read anew: their attachments.

    What cannot be read stays as it is, so that each request is refused for it.
    """
    if not common.get("attachments"):
        return common
    try:
        return {**common, "attachments": mails.read_files(common["attachments"])}
    except errors.InvalidNotification:
        return common
