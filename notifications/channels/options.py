"""Options for the provider beside the content: their names and checks, per channel.

On push: https://www.rfc-editor.org/rfc/rfc8030 (TTL, Urgency, Topic) and
https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages. Each push provider
carries all of them, in its own words.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from notifications.channels import recipients
from notifications.core.errors import InvalidField, MalformedRecipient
from templates_engine import slack_blocks

Options = Mapping[str, Any]
NONE: Options = {}

LONGEST_TTL = 2_419_200  # seconds: four weeks, as long as push services keep a message
LONGEST_URL = 2000  # characters
LONGEST_COLLAPSE_KEY = 64  # bytes (APNs, apns-collapse-id)
_KEY = re.compile(rf"[!-~](?:[ -~]{{0,{LONGEST_COLLAPSE_KEY - 2}}}[!-~])?")
LONGEST_NAME = 200  # characters
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff<>]")
URGENCIES = ("very-low", "low", "normal", "high")  # RFC 8030, 5.3
PRIORITIES = ("normal", "high")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")  # RFC 8030, 5.4


def check(channel: str, given: Options) -> None:
    """Raise ``InvalidField`` that names the option which the channel does not have, or take."""
    known = _CHECKS.get(channel, {})
    for name, value in given.items():
        if name not in known:
            has = f"Use one of: {', '.join(known)}." if known else "The channel has no options."
            raise InvalidField(
                f"The channel {channel!r} has no option {name!r}.",
                field=f"options.{name}",
                hint=has,
            )
        if wrong := known[name](value):
            raise InvalidField(wrong, field=f"options.{name}")


def of(content: Mapping[str, Any]) -> Options:
    """Return the options that a finished content carries."""
    found: Options = content.get("options") or NONE
    return found


def time_to_live(given: Options, ttl: int | None) -> int | None:
    """Return the shorter of the option and what is left until the expiry, in seconds."""
    return min((t for t in (given.get("ttl"), ttl) if t is not None), default=None)


def urgency(given: Options) -> str:
    """Return the urgency of RFC 8030, also where only FCM's priority is given."""
    return str(given.get("urgency") or given.get("priority") or "")


def is_urgent(given: Options) -> bool | None:
    """Return whether a device is to be woken; None where nothing is said of it."""
    said = given.get("priority") or given.get("urgency")
    return None if said is None else said == "high"


def collapse_key(given: Options) -> str:
    """Return the name by which a later message takes this one's place, ``""`` without one."""
    return str(given.get("collapse_key") or given.get("topic") or "")


def topic(given: Options) -> str:
    """Return that name as RFC 8030 writes it: 32 characters of base64url at most."""
    key = str(given.get("topic") or given.get("collapse_key") or "")
    if not key or _TOPIC.fullmatch(key):
        return key
    return urlsafe_b64encode(blake2b(key.encode(), digest_size=24).digest()).decode()


def _ttl(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LONGEST_TTL:
        return ""
    return f"ttl must be a whole number of seconds from 0 to {LONGEST_TTL}."


def _one_of(name: str, choices: tuple[str, ...]) -> Callable[[object], str]:
    wrong = f"{name} must be one of {', '.join(choices)}."
    return lambda value: "" if value in choices else wrong


def _topic(value: object) -> str:
    if isinstance(value, str) and _TOPIC.fullmatch(value):
        return ""
    return "topic must be 1 to 32 letters, digits, hyphens and underscores."


def _collapse_key(value: object) -> str:
    if isinstance(value, str) and _KEY.fullmatch(value):
        return ""
    return f"collapse_key must be 1 to {LONGEST_COLLAPSE_KEY} printable ASCII characters."


def _image(value: object) -> str:
    if isinstance(value, str) and value.startswith("https://") and len(value) <= LONGEST_URL:
        try:
            if recipients.url(value) == value:
                return ""
        except MalformedRecipient:
            pass
    return f"image must be an https URL of at most {LONGEST_URL} characters."


def _to_name(value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and not _UNSEEN.search(value):
        return ""
    return f"to_name must be 1 to {LONGEST_NAME} characters, without < and >."


def _open_pixel(value: object) -> str:
    return "" if isinstance(value, bool) else "open_pixel must be true or false."


_CHECKS: Mapping[str, Mapping[str, Callable[[object], str]]] = {
    "email": {"to_name": _to_name, "open_pixel": _open_pixel},
    "push": {
        "ttl": _ttl,
        "urgency": _one_of("urgency", URGENCIES),
        "topic": _topic,
        "image": _image,
        "collapse_key": _collapse_key,
        "priority": _one_of("priority", PRIORITIES),
    },
    "chat": {"blocks": slack_blocks.problem},
}
OF_EMAIL = frozenset(_CHECKS["email"])
OF_PUSH = frozenset(_CHECKS["push"])
ALL = frozenset(name for checks in _CHECKS.values() for name in checks)
