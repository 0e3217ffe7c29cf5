"""Delivery windows: the hours at which a category or a template may reach people."""

import re
from datetime import time
from typing import Any

from django.db import transaction
from django.http import HttpRequest
from ninja import Field, Router, Schema
from ninja import Status as Answer
from pydantic import ConfigDict

from notifications.api.authentication import mine, world_of
from notifications.api.fields import COUNTRY, ZONE, Input, Number, Whole, one_of
from notifications.api.json_schemas import EMPTY, SOME, Json, either, number, some_of, text
from notifications.api.problems import Problem
from notifications.core.errors import InvalidField
from notifications.models import DeliveryWindow
from notifications.models.delivery_window import DAYS, LONGEST_SPREAD, every_day
from notifications.models.preference import CATEGORY
from notifications.models.recipient import ADDRESSED
from notifications.recipients import windows

router = Router()

_TIME = re.compile("([01][0-9]|2[0-3]):[0-5][0-9]")
OF_DAY: Json = {"pattern": f"^{_TIME.pattern}$"}


def _late(*needed: str) -> Json:
    """Document that the other channel counts only where it is asked for."""
    others = [
        value for value in DeliveryWindow.IfLate.values if value != DeliveryWindow.IfLate.CHANNEL
    ]
    by_another: Json = {
        "if_late": {"const": DeliveryWindow.IfLate.CHANNEL.value},
        "late_channel": {"enum": [*ADDRESSED]},
    }
    none: Json = {"if_late": {"enum": others}, "late_channel": EMPTY, "late_template": EMPTY}
    return some_of({"properties": none}, {"properties": by_another, "required": [*needed]})


def _only(given: str) -> Json:
    """Document that this text is given, and the other one is not."""
    texts = dict.fromkeys(("category", "template"), EMPTY)
    return {"properties": {**texts, given: SOME}, "required": [given]}


class WindowChange(Input):
    """What a window is to be from now on; what is not named stays."""

    model_config = ConfigDict(json_schema_extra=_late())

    begins: str = Field(
        default_factory=str,
        description="The local time at which it opens, like `08:00`.",
        json_schema_extra=OF_DAY,
    )
    ends: str = Field(
        default_factory=str,
        description="When it closes; on the next day, if not later than `begins`.",
        json_schema_extra=OF_DAY,
    )
    days: list[str] = Field(
        default_factory=every_day,
        description=f"Some of {', '.join(DAYS)}; by default all.",
        json_schema_extra={"items": {"type": "string", "enum": [*DAYS]}, "minItems": 1},
    )
    holidays: bool = Field(
        default=True, description="Whether it opens on public holidays of the recipient's country."
    )
    timezone: str = Field(
        "", description="The time zone of recipients without one.", json_schema_extra=ZONE
    )
    country: str = Field(
        "",
        description="The country of recipients without one, like `AT` or `DE-BY`.",
        json_schema_extra=COUNTRY,
    )
    spread: Whole = Field(
        10,
        description="Minutes after the opening over which sends are spread.",
        json_schema_extra=number(0, LONGEST_SPREAD),
    )
    if_late: str = Field(
        DeliveryWindow.IfLate.DROP.value,
        json_schema_extra=one_of(tuple(DeliveryWindow.IfLate.values)),
        description="What happens to a notification that would expire before it opens.",
    )
    late_channel: str = Field(
        "",
        description="With `channel`: the channel used instead.",
        json_schema_extra=one_of(("", *ADDRESSED)),
    )
    late_template: str = Field(
        "", description="The template of that channel.", max_length=100, json_schema_extra=text()
    )


class WindowIn(WindowChange):
    """The window of a category, or of a template. What is not named has its default."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                *some_of(_only("category"), _only("template"))["allOf"],
                *_late("if_late", "late_channel")["allOf"],
            ]
        }
    )

    category: str = Field(
        "",
        description="The category that it is for.",
        max_length=50,
        json_schema_extra={"pattern": either(CATEGORY)},
    )
    template: str = Field(
        "",
        description="The template that it is for, instead of a category.",
        max_length=100,
        json_schema_extra=text(),
    )
    begins: str = Field(
        description="The local time at which it opens, like `08:00`.", json_schema_extra=OF_DAY
    )
    ends: str = Field(
        description="When it closes; on the next day, if not later than `begins`.",
        json_schema_extra=OF_DAY,
    )


class WindowOut(Schema):
    """A window as it stands."""

    id: int
    category: str
    template: str
    begins: str
    ends: str
    days: list[str]
    holidays: bool
    timezone: str
    country: str
    spread: int
    if_late: str
    late_channel: str
    late_template: str

    @staticmethod
    def resolve_begins(row: DeliveryWindow) -> str:
        """Write it as it is given; likewise below."""
        return f"{row.begins:%H:%M}"

    @staticmethod
    def resolve_ends(row: DeliveryWindow) -> str:
        return f"{row.ends:%H:%M}"


@router.get("", response=list[WindowOut], summary="List all")
def list_windows(request: HttpRequest) -> list[DeliveryWindow]:
    """List the delivery windows."""
    return list(mine(DeliveryWindow.objects.all(), request))


@router.post("", response={201: WindowOut, 200: WindowOut}, summary="Save one")
def save_window(request: HttpRequest, payload: WindowIn) -> Answer[DeliveryWindow]:
    """Save the window of a category or template: 201 for its first, 200 for one that replaces it.

    It is replaced as a whole: what the body does not name has its default. `PATCH` changes what it
    names. What waits already goes by the new one when it is due.
    """
    given: dict[str, Any] = payload.model_dump()
    given |= {name: _time(given[name], name) for name in ("begins", "ends")}
    row = DeliveryWindow(**world_of(request).columns, **given)
    return Answer(201 if windows.save(row) else 200, row)


@router.patch("/{id}", response=WindowOut, summary="Change one")
def change_window(request: HttpRequest, id: Number, payload: WindowChange) -> DeliveryWindow:  # noqa: A002 -- the path's own name
    """Change what the body names of a window, and leave the rest."""
    given: dict[str, Any] = payload.model_dump(exclude_unset=True)
    given |= {name: _time(given[name], name) for name in ("begins", "ends") if name in given}
    with transaction.atomic():
        rows = mine(DeliveryWindow.objects.select_for_update(), request)
        if (row := rows.filter(pk=id).first()) is None:
            raise Problem("not-found", f"There is no delivery window {id}.")
        for name, value in given.items():
            setattr(row, name, value)
        windows.save(row)
    return row


@router.delete("/{id}", response={204: None}, summary="Delete one")
def delete_window(request: HttpRequest, id: Number) -> Answer[None]:  # noqa: A002 -- as above
    """Delete a window. What waits for its opening goes when it would have opened."""
    if not mine(DeliveryWindow.objects.all(), request).filter(pk=id).delete()[0]:
        raise Problem("not-found", f"There is no delivery window {id}.")
    windows.forget()
    return Answer(204, None)


def _time(text: str, field: str) -> time:
    if not _TIME.fullmatch(text):
        raise InvalidField("It must be a local time like 08:00.", field=field)
    return time.fromisoformat(text)
