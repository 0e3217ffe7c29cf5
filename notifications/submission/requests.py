"""Reads a request for a notification from keyword arguments."""

from collections.abc import Mapping
from typing import Any

from notifications.channels import mail as mails
from notifications.channels.mail import KeptMail, Mail
from notifications.core import errors
from notifications.recipients import directory
from notifications.submission.fields import Request

_FIELDS = frozenset(Request._fields) - {"mail"} | mails.FIELDS.keys()
_OF_MAIL = mails.FIELDS.keys()
_REQUIRED = ("channel", "recipient")
_INSTEAD = {"recipient": "to"}


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
            hint=f"Known fields: {', '.join(sorted(_FIELDS))}.",
        )
    for name in _REQUIRED:
        if not given.get(name) and not given.get(_INSTEAD.get(name, name)):
            raise errors.InvalidField(f"A notification needs a {name}.", field=name)
    if (to := given.get("to")) is not None:
        given = {**given, "to": named_recipient(to)}
    if _OF_MAIL.isdisjoint(given):
        return Request(**given)
    others = {name: value for name, value in given.items() if name not in _OF_MAIL}
    return Request(**others, mail={name: given[name] for name in _OF_MAIL if name in given})


def named_recipient(to: object) -> str:
    """Return the id that ``{"recipient": …}`` names. Raises ``InvalidField``."""
    key = to.get("recipient") if isinstance(to, Mapping) and len(to) == 1 else None
    if key is None:
        raise errors.InvalidField(
            "It does not name a stored recipient.",
            field="to",
            hint='Write it like {"recipient": "customer-17"}.',
        )
    return directory.key_of(key, field="to.recipient")


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
