"""What an SMS costs: its encoding, its segments, and which characters make it dear."""

from dataclasses import dataclass
from typing import Literal

import smsutil
from smsutil.codecs import GSM_CHARSET

from templates_engine.errors import TooManySegments

_GSM = frozenset(GSM_CHARSET)
# A UCS-2 segment of a longer message holds 67 units, and no character takes more than two.
_CHARACTERS_SURE_TO_FIT = 33


@dataclass(frozen=True)
class SmsSize:
    """The size of a text as SMS (3GPP TS 23.038, 23.040).

    ``units``: septets in GSM-7 (€ and other characters of the extension table take two), 16-bit
    units in UCS-2. ``offending``: the characters that force UCS-2, each once, in order.
    """

    encoding: Literal["GSM-7", "UCS-2"]
    segments: int
    characters: int
    units: int
    offending: tuple[str, ...]
    parts: tuple[str, ...]


def measure(text: str) -> SmsSize:
    """Count a text's segments, as phones join them."""
    offending = tuple(dict.fromkeys(char for char in text if char not in _GSM))
    if not text:
        return SmsSize("GSM-7", 0, 0, 0, (), ())
    split = smsutil.split(text)
    return SmsSize(
        encoding="UCS-2" if offending else "GSM-7",
        segments=len(split.parts),
        characters=len(text),
        units=split.total_bytes // 2 if offending else split.total_bytes,
        offending=offending,
        parts=tuple(part.content for part in split.parts),
    )


def check_segments(text: str, limit: int) -> None:
    """Refuse a text that takes more segments than it may.

    Raises: TooManySegments.
    """
    if len(text) <= _CHARACTERS_SURE_TO_FIT * limit:
        return
    size = measure(text)
    if size.segments > limit:
        raise TooManySegments(size.segments, limit, size.encoding, size.offending)
