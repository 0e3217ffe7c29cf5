"""Kinds of field that several rooms of the API share."""

from typing import Annotated, Any

from ninja import Field, Schema
from pydantic import ConfigDict
from pydantic.functional_validators import AfterValidator

from notifications import routing


class Input(Schema):
    """A body: unknown fields are refused, and nothing is guessed from a wrong type."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _can_be_kept(text: str) -> str:
    """Refuse what no database keeps, before it gets there."""
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("It holds a character that cannot be kept (NUL or half of a pair).")
    return text


Text = Annotated[str, AfterValidator(_can_be_kept)]
"""Text of a query or of a path, which a database can look for."""


def one_of(names: tuple[str, ...]) -> dict[str, Any]:
    """Document the values of a field that the door itself checks, with a hint of its own."""
    return {"enum": list(names)}


CHANNEL = one_of(routing.CHANNELS)
PRIORITY = one_of(routing.PRIORITIES)
TIME: dict[str, Any] = {"format": "date-time"}

Name = Annotated[Text, Field(min_length=1, max_length=100)]
