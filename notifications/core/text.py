"""What a database can keep: text without NUL or half of a surrogate pair, and values of JSON."""

from collections.abc import Mapping
from math import isfinite

SHOWN = 50  # characters of a value in an error
DEEPEST = 500  # values inside each other; JSON of Python 3.11 reads a thousand at most
DIGITS = 4300  # of a whole number that Python reads
LARGEST = 10**DIGITS


def can_be_kept(text: str) -> bool:
    """Return whether every database takes this text."""
    if text.isascii():
        return "\x00" not in text
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def printable(text: str) -> str:
    """Return another system's text as a database can keep it, at most 2,000 characters."""
    if not text.isascii():
        text = text.encode(errors="replace").decode()
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")[:2000]


def shown(value: object) -> str:
    """Return what stands for a value in an error: text quoted and cut off, else its type's name."""
    if isinstance(value, str):
        return repr(value if len(value) <= SHOWN else value[:SHOWN] + "…")
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int) and abs(value) < 10**SHOWN:
        return repr(value)
    return f"a value of the type {type(value).__name__}"


def is_deeper(value: object, deepest: int) -> bool:
    """Say whether parsed JSON is nested deeper: level by level, so that it exhausts no stack."""
    level = [value]
    for _ in range(deepest):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [
            inner
            for container in containers
            for inner in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def why_not_json(value: object, place: str) -> str:
    """Say where in a value there is something that JSON cannot hold, and what; "" if nowhere.

    ``place`` names the value: an answer begins like ``context.lines[3].price``.
    """
    unseen = [(place, value, 0)]
    while unseen:
        at, part, depth = unseen.pop()
        if problem := _problem_of(part, depth):
            return f"{at} {problem}"
        if isinstance(part, Mapping):
            for key, inner in part.items():
                if not isinstance(key, str):
                    return f"{at} has a key that is not text"
                unseen.append((f"{at}.{key[:SHOWN]}", inner, depth + 1))
        elif isinstance(part, list | tuple):
            unseen += [(f"{at}[{number}]", inner, depth + 1) for number, inner in enumerate(part)]
    return ""


def _problem_of(value: object, depth: int) -> str:
    if depth > DEEPEST:
        return "is nested too deeply"
    if isinstance(value, float) and not isfinite(value):
        return "is not a finite number"
    if isinstance(value, int) and abs(value) >= LARGEST:
        return f"is a number of more than {DIGITS} digits"
    if value is None or isinstance(value, str | int | float | Mapping | list | tuple):
        return ""
    return f"is of the type {type(value).__name__}, which JSON does not have"
