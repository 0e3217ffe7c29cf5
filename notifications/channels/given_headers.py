"""Which headers a mail may be given, and with which values (RFC 5322)."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from notifications.core.conf import conf
from notifications.core.errors import InvalidField
from notifications.core.text import can_be_kept, shown

MOST = 50
LONGEST_VALUE = 4000  # characters
LONGEST_WORD = 900  # characters, so that each line can be written (RFC 5322, 2.1.1)
LONGEST_NAME = 76  # characters
NAME = "^[!-9;-~]+$"  # printable ASCII without the colon (RFC 5322, 3.6.8)
_NAME = re.compile(NAME)
_UNSUBSCRIBE = "list-unsubscribe"
_ONE_CLICK = "list-unsubscribe-post"
_LINK = r"<(?:https?://|mailto:)[!-;=?-~]+>"
_LINKS = re.compile(rf"\s*{_LINK}(?:\s*,\s*{_LINK})*\s*", re.IGNORECASE)
_HTTPS = re.compile(r"https://[!-;=?-~]+", re.IGNORECASE)
_BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
# Written by us alone, whatever the setting says; so is each that begins with a prefix of ours.
OWN = frozenset(
    {
        *("from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id"),
        *("mime-version", "auto-submitted", "return-path", "received", "dkim-signature"),
        *("arc-seal", "arc-message-signature", "arc-authentication-results"),
        *("authentication-results", "delivered-to", "resent-from", "resent-to", "feedback-id"),
    }
)
OWN_PREFIXES = ("content-", "x-notification-", "resent-")


def check(given: object) -> dict[str, str]:
    """Check headers by name. Raises ``InvalidField`` that names the header."""
    if not given:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidField("headers must be an object of names and values.", field="headers")
    if len(given) > MOST:
        raise InvalidField(f"There are more than {MOST} headers.", field="headers")
    seen: set[str] = set()
    for name, value in given.items():
        _check_name(name)
        if name.lower() in seen:
            raise InvalidField(f"The header {name} is given twice.", field="headers")
        seen.add(name.lower())
        _check_value(name, value)
    _check_unsubscribe({name.lower(): value for name, value in given.items()})
    return {str(name): value.strip() for name, value in given.items()}


def is_one_click(url: object) -> bool:
    """Return whether a mail program can unsubscribe by this URL (RFC 8058, 3.1): ASCII by https."""
    if not isinstance(url, str) or not _HTTPS.fullmatch(url):
        return False
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def is_allowed(name: str) -> bool:
    """Return whether a header of this name may be given."""
    lowered = name.lower()
    if lowered in OWN or lowered.startswith(OWN_PREFIXES):
        return False
    return any(
        lowered.startswith(known[:-1]) if known.endswith("*") else lowered == known
        for known in map(str.lower, conf.mail_headers)
    )


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise InvalidField(f"There is no header {shown(name)}.", field="headers")
    if name.lower() in OWN or name.lower().startswith(OWN_PREFIXES):
        raise InvalidField(
            f"The header {name} is written by this system.",
            field=f"headers.{name}",
            hint="There are fields for sender, recipients, subject and attachments.",
        )
    if not is_allowed(name):
        raise InvalidField(
            f"The header {name} is not among those that may be set.",
            field=f"headers.{name}",
            hint="NOTIFICATIONS_MAIL_HEADERS names them.",
        )


def _check_value(name: str, value: object) -> None:
    at = f"headers.{name}"
    if not isinstance(value, str):
        raise InvalidField("A header's value must be text.", field=at)
    if len(value) > LONGEST_VALUE:
        raise InvalidField(f"A header has at most {LONGEST_VALUE} characters.", field=at)
    if max(map(len, value.split()), default=0) > LONGEST_WORD:
        raise InvalidField(f"A word of a header has at most {LONGEST_WORD} characters.", field=at)
    if _BREAKS.search(value):
        raise InvalidField(
            "The value has a line break or a control character, which could forge a header.",
            field=at,
        )
    if not can_be_kept(value):
        raise InvalidField("The value holds a character that cannot be stored.", field=at)


def _check_unsubscribe(values: Mapping[str, str]) -> None:
    """Check the links of ``List-Unsubscribe`` (RFC 2369, 2), which is no text to be encoded."""
    if (links := values.get(_UNSUBSCRIBE)) is None:
        return
    at = "headers.List-Unsubscribe"
    if not _LINKS.fullmatch(links):
        raise InvalidField(
            "List-Unsubscribe must hold URLs in angle brackets, in ASCII, without blanks.",
            field=at,
            hint="Write it like <https://example.org/u/1>, <mailto:stop@example.org>.",
        )
    if _ONE_CLICK in values and not any(map(is_one_click, re.findall("<([^<>]*)>", links))):
        raise InvalidField(
            "With List-Unsubscribe-Post, List-Unsubscribe must hold an https URL (RFC 8058).",
            field=at,
        )
