"""What an address of each channel looks like."""

import re
from urllib.parse import urlsplit

import phonenumbers
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator

from notifications.errors import MalformedRecipient

_check_email = EmailValidator(allowlist=["localhost"])
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _refuse(what: str, hint: str) -> MalformedRecipient:
    # The recipient itself stays out of the text: errors end in logs.
    return MalformedRecipient(f"The recipient is not {what}.", field="recipient", hint=hint)


def email(recipient: str) -> str:
    """Accept one bare address (RFC 5321 mailbox), such as ``ada@example.org``."""
    try:
        _check_email(recipient)
    except ValidationError:
        raise _refuse("an email address", "Give one bare address, like ada@example.org.") from None
    return recipient


def phone(recipient: str) -> str:
    """Accept a phone number with its country code and give it in E.164 form."""
    try:
        number = phonenumbers.parse(recipient)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise _refuse("a phone number in E.164 form", "Give it like +4366412345678.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def url(recipient: str) -> str:
    """Accept an absolute http or https URL without credentials."""
    try:
        parts = urlsplit(recipient)
        usable = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.username is None
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        usable = False
    if not usable or _CONTROL.search(recipient) or " " in recipient:
        raise _refuse("an http or https URL", "Give it like https://example.org/hook.")
    return recipient


def token(recipient: str) -> str:
    """Accept any short text without control characters: a device token, a chat room, a name."""
    if not recipient.strip() or _CONTROL.search(recipient):
        raise _refuse("usable", "It is empty or holds control characters.")
    return recipient
