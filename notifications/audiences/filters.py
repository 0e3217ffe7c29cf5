"""Reads a filter: conditions on a recipient's fields, inside ``and``, ``or`` and ``not``.

A condition names a field, an operator and a value; nothing of a filter is SQL. What an index serves
decides whether it is taken: a filter must narrow down, by an index, which rows are looked at.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from notifications.audiences import sql
from notifications.audiences.sql import Sql
from notifications.core.errors import InvalidFilter, InvalidNotification, UnindexedFilter
from notifications.core.text import can_be_kept, shown
from notifications.core.world import World
from notifications.models.recipient import ADDRESSED
from notifications.recipients import categories, places

DEEPEST = 5  # groups inside each other
MOST_CONDITIONS = 50
MOST_VALUES = 100  # of one ``in``
MOST_COMPARED = 500  # values of all conditions: each is a search of an index
LONGEST_VALUE = 500  # characters
LONGEST_KEY = 100  # characters of one key of an attribute's path
LONGEST_PATH = 5  # keys
MOST_DAYS = 36_500
LARGEST_NUMBER = 10**15  # in either direction

ATTRIBUTES = "attributes."
CONSENT = "consent."
PLAIN = ("locale", "timezone", "country")
TIMES = ("created_at", "updated_at")
CHANNELS = ("channel", "verified_channel")
COMPARISONS = ("lt", "lte", "gt", "gte")
OF_AN_ATTRIBUTE = ("eq", "in", "contains", "exists", *COMPARISONS)

_GROUPS = frozenset(("and", "or", "not"))

COMPARED_KEY = re.compile(r"[A-Za-z0-9_-]+")
"""A key whose attribute can be compared by size: it stands in an index's definition."""

KEY = re.compile(r'[^."\\\x00]+')
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


Make = Callable[[str, str, Any, str], "Condition"]  # of a field, operator, value and place


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter as SQL over a recipient ``r``; ``served`` says that an index narrows it down."""

    sql: Sql
    served: bool


def read(given: Any, world: World, now: datetime) -> Sql:
    """Read a filter of a project's audience, and return its condition as SQL.

    Raises ``InvalidFilter`` or ``UnindexedFilter``, and ``UnknownCategory`` or ``UnknownChannel``
    where it names one that there is not; ``field`` is the place, like ``filter.and.1.value``.
    """
    reader = _Reader(world, now)
    found = reader.group(given, "filter", 1)
    if not found.served:
        raise UnindexedFilter(
            "No index serves this filter.",
            field=reader.unserved or "filter",
            hint=reader.index_hint
            + 'Put it inside "and", beside a condition that an index serves or beside '
            '{"everyone": true}, which reads every recipient of the project. '
            "docs/audiences.md lists the conditions that an index serves.",
        )
    return found.sql


class _Reader:
    """Reads one filter; counts its conditions, and keeps the first that no index serves."""

    def __init__(self, world: World, now: datetime) -> None:
        self._world, self._now = world, now
        self._count = self._compared = 0
        self.unserved = ""
        self.index_hint = ""

    def group(self, given: Any, place: str, depth: int) -> Condition:
        """Read a condition, or a group of them."""
        if not isinstance(given, Mapping):
            raise InvalidFilter(
                "It must be a JSON object.",
                field=place,
                hint='Write it like {"field": "attributes.plan", "op": "eq", "value": "gold"}.',
            )
        if depth > DEEPEST and _GROUPS & given.keys():
            raise InvalidFilter(f"Its groups are nested more than {DEEPEST} deep.", field=place)
        match [*given]:
            case ["and" as word] | ["or" as word]:
                return self._several(word, given[word], f"{place}.{word}", depth)
            case ["not"]:
                inner = self.group(given["not"], f"{place}.not", depth + 1)
                return self._noted(Condition(sql.negated(inner.sql), served=False), place)
            case ["everyone"]:
                if given["everyone"] is not True:
                    raise InvalidFilter("It must be true.", field=f"{place}.everyone")
                self._counted(place)
                return Condition(sql.EVERYONE, served=True)
        return self._noted(self._condition(given, place), place)

    def _several(self, word: str, given: Any, place: str, depth: int) -> Condition:
        if not isinstance(given, Sequence) or isinstance(given, str) or not given:
            raise InvalidFilter("It must be a list of conditions.", field=place)
        parts = [self.group(part, f"{place}.{n}", depth + 1) for n, part in enumerate(given)]
        served = [part.served for part in parts]
        joined = sql.joined(word, [part.sql for part in parts])
        return Condition(joined, served=any(served) if word == "and" else all(served))

    def _noted(self, found: Condition, place: str) -> Condition:
        if not found.served and not self.unserved:
            self.unserved = place
        return found

    def _counted(self, place: str) -> None:
        self._count += 1
        if self._count > MOST_CONDITIONS:
            raise InvalidFilter(f"There are more than {MOST_CONDITIONS} conditions.", field=place)

    def _condition(self, given: Mapping[Any, Any], place: str) -> Condition:
        self._counted(place)
        for name in ("field", "op", "value"):
            if name not in given:
                raise InvalidFilter(f"It has no {name}.", field=f"{place}.{name}")
        if unknown := given.keys() - {"field", "op", "value"}:
            name = min(map(str, unknown))
            raise InvalidFilter(
                f"A condition has no {name[:50]!r}.",
                field=place,
                hint="A condition has the keys field, op and value.",
            )
        field, op, value = given["field"], given["op"], given["value"]
        if not isinstance(field, str):
            raise InvalidFilter("The field must be text.", field=f"{place}.field")
        read = self._how_to_read(field)
        if read is None:
            raise InvalidFilter(
                f"A recipient has no field {shown(field)}.",
                field=f"{place}.field",
                hint="Known fields: "
                f"{ATTRIBUTES}…, {CONSENT}…, {', '.join((*PLAIN, *TIMES, *CHANNELS))}.",
            )
        operators, make = read
        if op not in operators:
            raise InvalidFilter(
                f"{field[:50]} has no operator {shown(op)}.",
                field=f"{place}.op",
                hint=f"Use one of: {', '.join(operators)}.",
            )
        return make(field, op, value, place)

    def _how_to_read(self, field: str) -> tuple[Sequence[str], Make] | None:
        """Return the operators of a field and what reads its conditions; None if there is none."""
        if field.startswith(ATTRIBUTES):
            return OF_AN_ATTRIBUTE, self._attribute
        if field.startswith(CONSENT):
            return ("eq",), self._consent
        if field in PLAIN:
            return ("eq", "in"), self._plain
        if field in TIMES:
            return COMPARISONS, self._time
        if field in CHANNELS:
            return ("eq", "in"), self._channel
        return None

    def _attribute(self, field: str, op: str, value: Any, place: str) -> Condition:
        path = path_of(field, f"{place}.field")
        at = f"{place}.value"
        if op in COMPARISONS:
            return self._comparison(path, op, value, place)
        if op == "exists":
            if not isinstance(value, bool):
                raise InvalidFilter("It must be true or false.", field=at)
            return Condition(sql.exists(path, there=value), served=False)
        values = [_scalar(member, where) for member, where in self._listed(op, value, at)]
        found = sql.contains(path, value) if op == "contains" else sql.equals_any(path, values)
        return Condition(found, served=True)

    def _comparison(self, path: list[str], op: str, value: Any, place: str) -> Condition:
        if not all(COMPARED_KEY.fullmatch(key) for key in path):
            raise InvalidFilter(
                "An attribute of this name cannot be compared by size.",
                field=f"{place}.field",
                hint="Its keys must be letters, digits, - and _.",
            )
        at = f"{place}.value"
        bound: str | float
        if isinstance(value, str | Mapping):
            kind, bound = sql.DATE, self._day(value, at)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            kind, bound = sql.NUMBER, _scalar(value, at)
        else:
            raise InvalidFilter(
                "It must be compared with a number or a date.",
                field=at,
                hint='Give a number, "2026-12-24", or {"days_ago": 30}.',
            )
        served = sql.has_index_of(path, kind)
        if not served:
            self.index_hint = f"manage.py index_attribute {'.'.join(path)} makes its index. "
        return Condition(sql.compared(path, kind, op, bound), served=served)

    def _day(self, value: str | Mapping[Any, Any], place: str) -> str:
        if isinstance(value, Mapping):
            return (self._now - _days_ago(value, place)).astimezone(UTC).date().isoformat()
        try:
            if _DATE.fullmatch(value):
                return date.fromisoformat(value).isoformat()
        except ValueError:
            pass
        raise InvalidFilter(
            "It must be a date.",
            field=place,
            hint='Write it like "2026-12-24" or {"days_ago": 30}.',
        )

    def _time(self, field: str, op: str, value: Any, place: str) -> Condition:
        at = f"{place}.value"
        if isinstance(value, Mapping):
            moment = self._now - _days_ago(value, at)
        else:
            moment = _moment(value, at)
        return Condition(sql.time(field, op, moment), served=field == "created_at")

    def _plain(self, field: str, op: str, value: Any, place: str) -> Condition:
        values = []
        for member, where in self._listed(op, value, f"{place}.value"):
            text = _scalar(member, where)
            if not isinstance(text, str):
                raise InvalidFilter("It must be text.", field=where)
            _check_plain(field, text, where)
            values.append(text)
        return Condition(sql.one_of(field, values), served=True)

    def _channel(self, field: str, op: str, value: Any, place: str) -> Condition:
        found = [
            _channel(member, where) for member, where in self._listed(op, value, f"{place}.value")
        ]
        return Condition(sql.reached_by(found, verified=field == "verified_channel"), served=True)

    def _listed(self, op: str, value: Any, place: str) -> list[tuple[Any, str]]:
        """Return the values of a condition with their places: one, or those of an ``in``."""
        values = [(value, place)]
        if op == "in":
            if not isinstance(value, list | tuple) or not value:
                raise InvalidFilter("It must be a list of values.", field=place)
            if len(value) > MOST_VALUES:
                raise InvalidFilter(f"There are more than {MOST_VALUES} values.", field=place)
            values = [(member, f"{place}.{number}") for number, member in enumerate(value)]
        self._compared += len(values)
        if self._compared > MOST_COMPARED:
            raise InvalidFilter(
                f"The conditions have more than {MOST_COMPARED} values in all.",
                field=place,
                hint="Use fewer values, or give these recipients an attribute of their own.",
            )
        return values

    def _consent(self, field: str, _: str, value: Any, place: str) -> Condition:
        kind = categories.require(field.removeprefix(CONSENT), self._world, field=f"{place}.field")
        channel = _channel(value, f"{place}.value")
        if kind.required:
            return Condition(sql.EVERYONE, served=False)
        by_default = kind.is_sent_by_default(channel)
        return Condition(sql.consents(kind.name, channel, by_default=by_default), not by_default)


def path_of(field: str, place: str) -> list[str]:
    """Return the keys of an attribute's path. Raises ``InvalidFilter``."""
    path = field.removeprefix(ATTRIBUTES).split(".")
    if len(path) > LONGEST_PATH or not all(
        KEY.fullmatch(key) and len(key) <= LONGEST_KEY and can_be_kept(key) for key in path
    ):
        raise InvalidFilter(
            f"It is not the path of an attribute: {shown(field)}.",
            field=place,
            hint="Write it like attributes.plan or attributes.address.city, with at most "
            f"{LONGEST_PATH} keys, without quotation marks and backslashes.",
        )
    return path


def _scalar(value: Any, place: str) -> str | int | float | bool:
    if isinstance(value, str) and len(value) <= LONGEST_VALUE and can_be_kept(value):
        return value
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) <= LARGEST_NUMBER:  # nan is not, either
        return value
    if isinstance(value, str):
        text = (
            f"A text has {LONGEST_VALUE} characters at most, without NUL and halves of surrogates."
        )
        raise InvalidFilter(text, field=place)
    if isinstance(value, int | float):
        raise InvalidFilter(
            f"A number is {LARGEST_NUMBER:,} at most, in either direction.",
            field=place,
            hint="Keep longer numbers, such as the ids of other systems, as texts.",
        )
    raise InvalidFilter("It must be text, a number, true or false.", field=place)


def _days_ago(value: Mapping[Any, Any], place: str) -> timedelta:
    days = value.get("days_ago")
    if len(value) == 1 and type(days) is int and 0 <= days <= MOST_DAYS:
        return timedelta(days=days)
    raise InvalidFilter(
        f"It must be a number of days up to {MOST_DAYS}.",
        field=place,
        hint='Write it like {"days_ago": 30}.',
    )


def _moment(value: Any, place: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InvalidFilter(
        "It must be a time with its UTC offset.",
        field=place,
        hint='Write it like "2026-12-24T18:00:00+01:00" or {"days_ago": 30}.',
    )


def _check_plain(field: str, text: str, place: str) -> None:
    """Refuse a zone or a country that no recipient can have."""
    checks = {"timezone": places.check_timezone, "country": places.check_country}
    try:
        if field in checks:
            checks[field](text)
    except InvalidNotification as error:
        raise InvalidFilter(error.message, field=place, hint=error.hint) from None


def _channel(value: Any, place: str) -> str:
    if value not in ADDRESSED:
        raise InvalidFilter(
            f"There is no channel {shown(value)}.",
            field=place,
            hint=f"Use one of: {', '.join(ADDRESSED)}.",
        )
    return str(value)
