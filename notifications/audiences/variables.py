"""A template's variables, filled from each recipient of an audience."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from notifications.audiences import filters
from notifications.core.errors import InvalidField, InvalidNotification
from notifications.core.text import shown, why_not_json
from notifications.models import Recipient

MOST = 50  # variables
COLUMNS = ("id", *filters.PLAIN)


class Member(NamedTuple):
    """A recipient as the rows of a batch need it."""

    key: str
    locale: str
    timezone: str
    country: str
    attributes: Mapping[str, Any] = {}


def check(given: Any) -> dict[str, Any]:
    """Check which variables are filled from what, and return them. Raises ``InvalidField``."""
    if not isinstance(given, Mapping):
        raise InvalidField(
            "The variables must be a JSON object.",
            field="variables",
            hint='Write them like {"name": "attributes.first_name"}.',
        )
    if len(given) > MOST:
        raise InvalidField(f"There are more than {MOST} variables.", field="variables")
    for name, source in given.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidField(f"A template has no variable {shown(name)}.", field="variables")
        _check_source(source, f"variables.{name[:50]}")
    return dict(given)


def members(keys: Sequence[int], fills: Mapping[str, Any]) -> dict[int, Member]:
    """Read recipients by their primary keys; one that was deleted is not among them.

    Their attributes are read where variables are filled.
    """
    columns = ("key", *COLUMNS[1:], *(("attributes",) if fills else ()))
    rows = Recipient.objects.filter(pk__in=keys).values_list("pk", *columns)
    found = {pk: Member(*more) for pk, *more in rows}
    return {key: found[key] for key in keys if key in found}


def row_of(member: Member, common: Mapping[str, Any], fills: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recipient's own row."""
    row: dict[str, Any] = {"to": {"recipient": member.key}}
    if fills:
        given = common.get("context") or {}
        row["context"] = {**given, **_filled(member, fills)}
    return row


def _filled(member: Member, fills: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that have a value; the template says what becomes of others."""
    found = {}
    for name, source in fills.items():
        path, default = _parts(source)
        value = _value(member, path)
        if (value := default if value in (None, "") else value) is not None:
            found[name] = value
    return found


def _value(member: Member, path: str) -> Any:
    if path in COLUMNS:
        return member[COLUMNS.index(path)]
    value: Any = member.attributes
    for key in path.removeprefix(filters.ATTRIBUTES).split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _parts(source: Any) -> tuple[str, Any]:
    if isinstance(source, str):
        return source, None
    return source["from"], source.get("default")


def _check_source(source: Any, place: str) -> None:
    is_object = isinstance(source, Mapping) and {"from"} <= source.keys() <= {"from", "default"}
    path = source["from"] if is_object else source
    if not isinstance(path, str):
        raise InvalidField(
            "It must name a field of a recipient.",
            field=place,
            hint='Give "attributes.first_name", or {"from": …, "default": …}.',
        )
    if is_object and (why := why_not_json(source.get("default"), "default")):
        raise InvalidField(f"It is not JSON: {why}.", field=place)
    if path in COLUMNS:
        return
    if not path.startswith(filters.ATTRIBUTES):
        raise InvalidField(
            f"A recipient has no field {shown(path)}.",
            field=place,
            hint=f"Known fields: {filters.ATTRIBUTES}…, {', '.join(COLUMNS)}.",
        )
    try:
        filters.path_of(path, place)
    except InvalidNotification as error:
        raise InvalidField(error.message, field=place, hint=error.hint) from None
