"""What a person sees in a spreadsheet's cell: its value by its number format (ECMA-376, 18.8.31).

What a format leaves to the viewer's computer is written the same for all: dates of the short and
the long form, and those with names of months or days, as ``2026-03-05``. Digits that a narrow
column hides are there. A format with conditions, fractions or exponents, the hidden one (``;;;``),
and a number that is too long for its format show the plain number.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

Value = str | bool | int | float | Decimal | date | datetime | time | timedelta | None

GENERAL = {"", "General", "@"}
LONGEST_FORMAT = 255
"""Characters, as Excel has it; a longer one counts as none."""
OF_THE_VIEWER = re.compile(r"^(mm-dd-yy|m/d/yy h:mm)$|\[\$-F[48]00\]", re.IGNORECASE)
TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|_(?P<space>.)|\*(?P<fill>.)|\[\$(?P<currency>[^\]-]*)[^\]]*\]'
    r"|\[(?P<elapsed>[hms]+)\]|\[(?P<other>[^\]]*)\]|(?P<half>AM/PM|A/P)|(?P<date>[yY]+|[mM]+|[dD]+|[hH]+|[sS]+)"
    r"|(?P<digit>[0#?])|(?P<plain>.)",
    re.DOTALL,
)
COLOUR = re.compile(r"black|blue|cyan|green|magenta|red|white|yellow|color ?\d+", re.IGNORECASE)
PRECISION = 15
"""Significant digits that a spreadsheet keeps of a number."""
MOST_DIGITS = 28
"""Of a number that is rounded to its format's places (``decimal``'s own precision)."""


class Token(NamedTuple):
    """A piece of a format: its kind, a name of ``TOKEN``'s groups, and its text."""

    kind: str
    text: str


def text_of(value: Value, number_format: str) -> str:
    """Return a cell's value as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return value
    if len(number_format) > LONGEST_FORMAT:
        number_format = "General"
    if isinstance(value, int | float | Decimal):
        return _number(value, number_format)
    return _moment(value, number_format)


def _number(value: float | Decimal, number_format: str) -> str:
    if number_format in GENERAL:
        return _plain(value)
    number = Decimal(_plain(value))
    sections = _sections(number_format)
    place = 1 if number < 0 and len(sections) > 1 else 0
    place = 2 if not number and len(sections) > 2 else place
    if sections[place] in GENERAL:
        return _plain(value)
    shown = _by_section(abs(number), _tokens(sections[place]))
    if shown is None:
        return _plain(value)
    return f"-{shown}" if number < 0 and place == 0 else shown


def _plain(value: float | Decimal) -> str:
    if isinstance(value, int):
        return str(value)
    number = Decimal(format(value, f".{PRECISION}g"))
    return f"{number.normalize():f}" if number else "0"


def _sections(number_format: str) -> list[str]:
    parts = re.findall(r'((?:"[^"]*"|\\.|\[[^\]]*\]|[^;])*)(?:;|$)', number_format, re.DOTALL)
    return parts[:-1] if len(parts) > 1 and not parts[-1] else parts


def _tokens(section: str) -> list[Token]:
    return [Token(str(m.lastgroup), str(m[str(m.lastgroup)])) for m in TOKEN.finditer(section)]


def _by_section(number: Decimal, tokens: Sequence[Token]) -> str | None:
    """Return a number that is not below zero by one section; ``None`` for a form not known."""
    if any(token.kind in ("elapsed", "date", "half") or _is_condition(token) for token in tokens):
        return None
    if any(token.kind == "plain" and token.text in "/eE" for token in tokens):
        return None
    places = [place for place, token in enumerate(tokens) if token.kind == "digit"]
    if not places:
        return "".join(map(_literal, tokens))
    if any(token == Token("plain", "%") for token in tokens):
        number *= 100
    point = next((p for p, token in enumerate(tokens) if token == Token("plain", ".")), None)
    end = max(places[-1], -1 if point is None else point) + 1
    before = tokens[places[0] : end if point is None else point]
    after = () if point is None else tokens[point + 1 : end]
    tail = tokens[end:]
    while tail and tail[0] == Token("plain", ","):  # each leaves out three digits
        number, tail = number / 1000, tail[1:]
    decimals = sum(token.kind == "digit" for token in after)
    if not number.is_finite() or number.adjusted() + decimals >= MOST_DIGITS:
        return None
    rounded = number.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    whole, _, rest = f"{rounded:f}".partition(".")
    head = "".join(map(_literal, tokens[: places[0]]))
    return head + _whole(whole, before) + _rest(rest, after) + "".join(map(_literal, tail))


def _is_condition(token: Token) -> bool:
    return token.kind == "other" and not COLOUR.fullmatch(token.text)


def _whole(digits: str, tokens: Sequence[Token]) -> str:
    """Return the digits before the point, from the right into their places."""
    is_grouped = any(token == Token("plain", ",") for token in tokens)
    places = [token for token in tokens if token != Token("plain", ",")]
    left = digits.lstrip("0")
    if is_grouped and all(token.kind == "digit" for token in places):
        least = sum(token.text == "0" for token in places)
        return f"{int(left or 0):,}" if least < 2 and (left or least) else left.rjust(least, "0")
    shown: list[str] = []
    slots = sum(token.kind == "digit" for token in places)
    for token in reversed(places):
        if token.kind != "digit":
            shown.append(_literal(token) if left or "0" in {t.text for t in places} else "")
            continue
        slots -= 1
        digit, left = (left, "") if not slots else (left[-1:], left[:-1])
        shown.append(digit or {"0": "0", "?": " "}.get(token.text, ""))
    return "".join(reversed(shown))


def _rest(digits: str, tokens: Sequence[Token]) -> str:
    """Return the point and the digits after it, without zeros that a ``#`` does not show."""
    shown: list[str] = []
    place = 0
    for token in tokens:
        if token.kind == "digit":
            is_needed = token.text == "0" or digits[place:].strip("0")
            shown.append(digits[place] if is_needed else " " if token.text == "?" else "")
            place += 1
        else:
            shown.append(_literal(token))
    text = "".join(shown)
    return f".{text}" if text else ""


def _literal(token: Token) -> str:
    if token.kind == "space":
        return " "
    return "" if token.kind in ("fill", "other") else token.text


def _moment(value: date | datetime | time | timedelta, number_format: str) -> str:
    tokens = _tokens(_sections(number_format)[0])
    names = any(t.kind == "date" and t.text[0] in "mMdD" and len(t.text) > 2 for t in tokens)
    has_parts = any(token.kind in ("date", "elapsed") for token in tokens)
    is_exact = any(token.kind == "digit" for token in tokens)  # fractions of a second
    if names or is_exact or not has_parts or OF_THE_VIEWER.search(number_format):
        return _iso(value)
    if isinstance(value, timedelta):
        return _elapsed(value, tokens)
    if any(token.kind == "elapsed" for token in tokens):
        return _iso(value)
    return _dated(value, tokens)


def _iso(value: date | datetime | time | timedelta) -> str:
    if isinstance(value, timedelta):
        return _elapsed(value, _tokens("[h]:mm:ss"))
    if isinstance(value, time):
        return value.isoformat("seconds" if value.second else "minutes")
    if not isinstance(value, datetime):
        return value.isoformat()
    if value.time() == time():
        return value.date().isoformat()
    return value.isoformat(" ", "seconds" if value.second else "minutes")


def _dated(value: date | time, tokens: Sequence[Token]) -> str:
    is_half = any(token.kind == "half" for token in tokens)
    parts = [token for token in tokens if token.kind == "date"]
    shown = []
    for token in tokens:
        if token.kind == "half":
            shown.append("AM" if getattr(value, "hour", 0) < 12 else "PM")
        elif token.kind == "date":
            shown.append(_part(value, token.text.lower(), _is_minute(parts, token), is_half))
        else:
            shown.append(_literal(token))
    return "".join(shown)


def _is_minute(parts: list[Token], token: Token) -> bool:
    """Tell whether an ``m`` stands beside hours or seconds."""
    place = next(number for number, part in enumerate(parts) if part is token)
    before, after = parts[place - 1] if place else None, parts[place + 1 : place + 2]
    return (before is not None and before.text[0] in "hH") or any(p.text[0] in "sS" for p in after)


def _part(value: date | time, text: str, is_minute: bool, is_half: bool) -> str:  # noqa: FBT001 -- both of one call
    kind, width = text[0], len(text)
    if kind == "y":
        year = getattr(value, "year", 1900)
        return f"{year % 100:02}" if width < 3 else f"{year:04}"
    name = {"m": "minute" if is_minute else "month", "d": "day", "h": "hour", "s": "second"}[kind]
    number: int = getattr(value, name, 0)
    if kind == "h" and is_half:
        number = (number - 1) % 12 + 1
    return f"{number:0{min(width, 2)}}"


def _elapsed(value: timedelta, tokens: Sequence[Token]) -> str:
    seconds = round(abs(value.total_seconds()))
    units = {"h": 3600, "m": 60, "s": 1}
    shown = []
    for token in tokens:
        if token.kind in ("elapsed", "date") and token.text[0].lower() in units:
            unit = units[token.text[0].lower()]
            shown.append(f"{seconds // unit:0{len(token.text)}}")
            seconds %= unit
        else:
            shown.append(_literal(token))
    return ("-" if value < timedelta(0) else "") + "".join(shown)
