"""What an address of each channel looks like, and the one form in which it is kept.

Hidden characters at its ends, pasted along, are taken off; inside they are refused by name.
"""

import re
import unicodedata
from urllib.parse import urlsplit

import httpx
import phonenumbers
from phonenumbers import ValidationResult

from notifications.channels import addresses, invisible
from notifications.core.errors import MalformedRecipient

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A number as people write it: digits of any script, and what they put between.
_DIALLED = re.compile(r"(?:tel:)?\+?[\d\s()./\u00b7\u2010-\u2015\u2212-]+")
_E164 = re.compile(r"\+[0-9]{7,15}")
# Until 2019 a mobile number of Mexico had a 1 behind the country code; networks still give it.
_MEXICAN = re.compile(r"\+521([0-9]{10})")
_ARGENTINIAN = re.compile(r"\+549?([0-9]{10})")
_MAILTO = "mailto:"
LONGEST_HOST = 253  # octets (RFC 1035, 2.3.4)
LONGEST_LABEL = 63


def _refuse(form: str, hint: str) -> MalformedRecipient:
    # The recipient itself stays out of the text: errors end in logs.
    return MalformedRecipient(f"The recipient is not {form}.", field="recipient", hint=hint)


def email(recipient: str) -> str:
    """Accept one bare address (RFC 5321, RFC 6531) in the form of ``addresses.canonical``.

    ``mailto:`` before it, as links have it, goes.
    """
    if recipient[: len(_MAILTO)].lower() == _MAILTO:
        recipient = recipient[len(_MAILTO) :]
    try:
        return addresses.canonical(recipient)
    except addresses.BadAddress as error:
        raise _refuse(
            "an email address", f"{error} Write the address alone, like ada@example.org."
        ) from None


def phone(recipient: str) -> str:
    """Accept a whole phone number with its country code and return it in E.164 form.

    E.164 has no extensions, and a number that only its own town can dial has no E.164 form.
    """
    given = invisible.trimmed(recipient)
    is_plain = _E164.fullmatch(given) is not None
    if not is_plain and (
        hidden := next((c for c in given if not c.isspace() and invisible.is_hidden(c)), "")
    ):
        raise _refuse(
            "a phone number alone", f"It holds {invisible.named(hidden)}, which cannot be seen."
        )
    if found := _MEXICAN.fullmatch(given):
        given = f"+52{found[1]}"
    try:
        number = phonenumbers.parse(given)
    except phonenumbers.NumberParseException:
        raise _refuse("a phone number in E.164 form", "Write it like +4366412345678.") from None
    if number.extension:
        raise _refuse(
            "a phone number without an extension", "A text message cannot reach an extension."
        )
    if not is_plain and not _DIALLED.fullmatch(unicodedata.normalize("NFKC", given)):
        raise _refuse("a phone number alone", "It may hold only digits and separators.")
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        raise _refuse("a whole phone number in E.164 form", "Write it like +4366412345678.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def senders(number: str) -> list[str]:
    """Return the numbers that a text may have come from, in E.164 form; none for a short code.

    Mobile numbers of Argentina have a 9 behind the country code where they are called from abroad,
    and networks give the sender with or without it.
    """
    try:
        sender = phone(number)
    except MalformedRecipient:
        return []
    if found := _ARGENTINIAN.fullmatch(sender):
        return [f"+549{found[1]}", f"+54{found[1]}"]
    return [sender]


def url(recipient: str) -> str:
    """Accept an absolute http or https URL without credentials."""
    given = invisible.trimmed(recipient)
    try:
        parts = urlsplit(given)
        usable = (
            parts.scheme in {"http", "https"}
            and parts.username is None
            and (parts.port is None or parts.port > 0)
            and _is_host(httpx.URL(given).raw_host.decode("ascii"))
        )
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable or _CONTROL.search(given) or " " in given:
        raise _refuse("an http or https URL", "Write it like https://example.org/hook.")
    return _without_hidden(given)


def _is_host(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    return len(host) <= LONGEST_HOST and all(0 < len(label) <= LONGEST_LABEL for label in labels)


def token(recipient: str) -> str:
    """Accept any short text without control characters: a device token, a chat room, a name."""
    given = invisible.trimmed(recipient)
    if not given or _CONTROL.search(given):
        raise _refuse("usable", "It is empty or holds control characters.")
    return _without_hidden(given)


def _without_hidden(given: str) -> str:
    if hidden := invisible.first_misplaced(given):
        raise _refuse("usable", f"It holds {invisible.named(hidden)}, which cannot be seen.")
    return given
