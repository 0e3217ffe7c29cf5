"""Kinds of field that several rooms of the API share."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from ninja import Field, Header
from pydantic import BaseModel, ConfigDict
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic.json_schema import WithJsonSchema

from notifications.api.json_schemas import text, whole
from notifications.core import routing
from notifications.core.text import can_be_kept
from notifications.models.event import EVENT_NAME, LONGEST_EVENT_NAME
from notifications.models.preference import CATEGORY, LONGEST_CATEGORY
from notifications.models.recipient import ADDRESSED, KEY, LONGEST_COUNTRY, LONGEST_KEY, RESERVED


class Input(BaseModel):
    """A body: unknown fields are refused, and nothing is guessed from a wrong type.

    Not ninja's ``Schema``, which looks for each field as an attribute of a Django object first.
    """

    model_config = ConfigDict(extra="forbid", strict=True)


def _storable(text: str) -> str:
    """Refuse what no database keeps, before it gets there."""
    if not can_be_kept(text):
        raise ValueError(
            "It holds a character that cannot be stored (NUL or half of a surrogate pair)."
        )
    return text


Text = Annotated[str, AfterValidator(_storable), Field(json_schema_extra=text())]
"""Text that a database can keep, and look for."""


def _in_a_header(key: str) -> str:
    """Return an idempotency key of a header. Raises ``ValueError`` for one that did not arrive.

    RFC 9110, 5.5 leaves the meaning of bytes outside ASCII open, and servers hand on nothing in
    their place.
    """
    if not (key and key.isascii() and key.isprintable()):
        raise ValueError(
            "The header must have printable ASCII characters. Give any other key in the body, or "
            "leave the header out."
        )
    return key


IdempotencyKey = Annotated[
    str,
    AfterValidator(_in_a_header),
    Field(json_schema_extra={"pattern": "^[ -~]+$"}),
    Header("", alias="Idempotency-Key", max_length=255, description="As in the body, in ASCII."),
]


def one_of(names: tuple[str, ...]) -> dict[str, Any]:
    """Document the values of a field that submission itself checks, with a hint of its own."""
    return {"enum": list(names)}


def filter_by(names: tuple[str, ...]) -> tuple[AfterValidator, WithJsonSchema]:
    """Make the metadata of a filter that takes one of these names, or nothing."""
    return AfterValidator(_among(("", *names))), WithJsonSchema(
        {"type": "string", "enum": ["", *names]}
    )


def _among(names: tuple[str, ...]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"It must be one of {', '.join(filter(None, names))}.")
        return value

    return check


OF_A_ROW = frozenset({"recipient", "to", "idempotency_key", "project", "test"})
"""What rows of a batch cannot share: whose they are, and what tells one from another."""

CHANNEL = one_of(routing.CHANNELS)
PRIORITY = one_of(routing.PRIORITIES)
BY_CHANNEL: dict[str, Any] = {"propertyNames": {"enum": list(ADDRESSED)}}
"""Documents an object that has channels for names."""


def named(pattern: str, longest: int) -> dict[str, Any]:
    """Document a name that is checked elsewhere, with a hint of its own."""
    return {"pattern": whole(pattern), "maxLength": longest}


EVENT = named(EVENT_NAME, LONGEST_EVENT_NAME)
CATEGORY_NAME = named(CATEGORY, LONGEST_CATEGORY)
KEY_OF_ONE = named(KEY, LONGEST_KEY) | {"not": {"const": RESERVED}}
ZONE = text(64, "^(?:[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*)?$")
"""Documents a zone of IANA, of whose names it has the form alone; or none."""
COUNTRY = text(LONGEST_COUNTRY, r"^(?:[A-Z]{2}(?:-[^\u0000]+)?)?$")
TIME: dict[str, Any] = {"format": "date-time"}


def _written_out(value: str) -> datetime:
    """Read ISO 8601 with its offset, without which it could be a time of any zone.

    A bare number, which pydantic would take for seconds, is not a time.
    """
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("It is not a time like 2026-12-24T18:00:00+01:00.") from None
    raise ValueError("It has no UTC offset, so its time zone is unknown.")


Moment = Annotated[datetime, BeforeValidator(_written_out)]


ChannelFilter = Annotated[str, *filter_by(routing.CHANNELS)]
PriorityFilter = Annotated[str, *filter_by(routing.PRIORITIES)]

Number = Annotated[int, Field(ge=0, le=9_223_372_036_854_775_807)]
"""A number that the database gave to a row."""


def _whole(value: Any) -> Any:
    """Read 7.0 as 7: to JSON Schema both are the same whole number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number of a body."""


Name = Annotated[Text, Field(min_length=1, max_length=100)]
