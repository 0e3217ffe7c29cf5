"""How the texts of a rule are written, as JSON Schema says it to whoever writes a definition.

The checks of ``rule_documents`` refuse what does not fit, in words of their own.
"""

from typing import Any

from celery import schedules

from scheduling.calendar_rules import ALIASES
from scheduling.occurrences import LONGEST

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def any_case(text: str) -> str:
    """Return a pattern of a word in capitals or not, for JSON Schema has no flag for it."""
    return "".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in text)


def _either(*patterns: str) -> str:
    return f"(?:{'|'.join(patterns)})"


def _field(value: str, *others: str) -> str:
    """Return the pattern of a crontab line's field: values, ranges and steps, and ``others``."""
    step = "(?:/0*[1-9][0-9]{0,3})?"
    item = _either(rf"\*{step}", f"{value}(?:-{value}{step})?", *others)
    return f"{item}(?:,{item})*"


_SIXTY = "[0-5]?[0-9]"
_DAY = "(?:0?[1-9]|[12][0-9]|3[01])"
_NAMED_DAY = _either("[0-7]", *map(any_case, _DAYS))
_FIELDS = (
    _field(_SIXTY),
    _field("(?:[01]?[0-9]|2[0-3])"),
    _field(_DAY, "[Ll][Ww]?", "[Ll]-(?:[0-9]|[12][0-9]|30)", f"{_DAY}[Ww]"),
    _field(_either("0?[1-9]", "1[0-2]", *map(any_case, _MONTHS))),
    _field(_NAMED_DAY, f"{_NAMED_DAY}#[1-5]", "[0-7][Ll]"),
)
_FIVE = r"\s+".join(_FIELDS)
_SIX = rf"{_field(_SIXTY)}\s+{_FIVE}"
_TIME = "(?:[01][0-9]|2[0-3])(?::[0-5][0-9](?::[0-5][0-9])?)?"

ZONE: dict[str, Any] = {"pattern": "^[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*$"}
"""Of a zone; which ones there are is known to the database of zones alone."""
OF_DAY: dict[str, Any] = {"pattern": f"^{_TIME}$"}
RRULE: dict[str, Any] = {"pattern": any_case("freq="), "maxLength": LONGEST}
SOLAR: dict[str, Any] = {"enum": sorted(schedules.solar._all_events)}  # noqa: SLF001 -- Celery has no public list
_OF_FIVE: dict[str, Any] = {
    "properties": {
        "cron": {"pattern": rf"^\s*{_either(_FIVE, *map(any_case, ALIASES))}\s*$"},
        "seconds": {"const": False},
    }
}
_OF_SIX: dict[str, Any] = {
    "properties": {"cron": {"pattern": rf"^\s*{_SIX}\s*$"}, "seconds": {"const": True}},
    "required": ["seconds"],
}
CRON: dict[str, Any] = {"allOf": [{"anyOf": [_OF_FIVE, _OF_SIX]}]}
"""Of a rule with a crontab line: five fields, or six that begin with seconds."""
