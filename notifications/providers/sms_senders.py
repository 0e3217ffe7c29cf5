"""The sender of a text message, by the country that it goes to.

An account's setting ``senders`` is an object, ``{"+43": "Shop", "+1": "+15005550006"}``: the
start of a number (E.164) → the sender there. The longest prefix wins.
"""

import re
from collections.abc import Mapping
from typing import Any

HINT = 'The sender by country, {"+43": "Shop"}; the longest prefix wins.'

# At most 11 characters, one of them a letter, as networks take it.
NAME = r"(?=.*[A-Za-z])[A-Za-z0-9{}]{{1,11}}"
NUMBER = r"\+[1-9]\d{6,14}|\d{3,8}"  # E.164, or a short code
_PREFIX = re.compile(r"\+[1-9]\d{0,14}")


class Senders:
    """What one account's ``senders`` say."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        by_prefix: Mapping[str, str] = settings.get("senders") or {}
        self._longest_first = sorted(by_prefix.items(), key=lambda item: -len(item[0]))

    def of(self, recipient: str, otherwise: str) -> str:
        """Return the sender for a number in E.164 form."""
        for prefix, sender in self._longest_first:
            if recipient.startswith(prefix):
                return sender
        return otherwise


def problems(
    settings: Mapping[str, Any], own: str, sender: re.Pattern[str], wanted: str
) -> list[str]:
    """Say what is wrong with the setting, and with ``own``, the sender where it names none.

    ``sender`` matches what the provider takes.
    """
    wrong = []
    if own in settings and not _is_sender(settings[own], sender):
        wrong.append(f"{own}: It must be {wanted}.")
    given = settings.get("senders", {})
    if not isinstance(given, Mapping):
        return [*wrong, 'senders: It must be an object, like {"+43": "Shop"}.']
    for prefix, value in given.items():
        if not _PREFIX.fullmatch(prefix):
            wrong.append(f"senders: {prefix!r} is not the start of an E.164 number, like +43.")
        if not _is_sender(value, sender):
            wrong.append(f"senders: The sender for {prefix!r} must be {wanted}.")
    return wrong


def _is_sender(value: object, sender: re.Pattern[str]) -> bool:
    return isinstance(value, str) and sender.fullmatch(value) is not None
