"""Rules of events: what is sent when an event comes, and what cancels it."""

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from ninja import Status as Answer
from pydantic import ConfigDict

from notifications.api.access import permit_rule
from notifications.api.authentication import mine, world_of
from notifications.api.contract import refuses
from notifications.api.fields import CHANNEL, EVENT, PRIORITY, Input, Number, Text, Whole
from notifications.api.json_schemas import (
    EMPTY,
    NUL_FREE,
    SOME,
    Json,
    both,
    either,
    given,
    lacking,
    some_of,
    text,
)
from notifications.api.pagination import Page, Paging, cut
from notifications.api.problems import Problem
from notifications.events import rules
from notifications.models import EventRule
from notifications.models.event import (
    EVENT_NAME,
    LONGEST_DELAY,
    LONGEST_EVENT_NAME,
    LONGEST_EXPRESSION,
    LONGEST_NAME,
)
from notifications.models.preference import CATEGORY

router = Router()

EXPRESSION = "An expression of CEL over `data`"


OF_RULE = text(LONGEST_EXPRESSION)
OF_NAME = text(LONGEST_NAME) | SOME
NOT_BOTH = some_of(
    {"properties": {"recipients": EMPTY, "to": SOME}},
    {"properties": {"recipients": SOME, "to": EMPTY}},
)
"""Documents that a change which names both clears one of the two."""
WHOLE: Json = {
    "allOf": [
        *some_of(
            both(given("recipients"), lacking("to")), both(given("to"), lacking("recipients"))
        )["allOf"],
        *some_of(lacking("cancel_on", "match", "cancel_match"), given("cancel_on", "match"))[
            "allOf"
        ],
    ]
}
"""Documents to whom a rule sends, and by what it tells which send an event cancels."""


class RuleChange(Input):
    """What a rule is to be from now on; what is not named stays."""

    model_config = ConfigDict(json_schema_extra=NOT_BOTH)

    name: str = Field(default_factory=str, json_schema_extra=OF_NAME)
    enabled: bool = True
    event: str = Field(
        default_factory=str, description="The name of the event.", json_schema_extra=EVENT
    )
    condition: str = Field(
        "",
        description=f"{EXPRESSION} that must be true. Empty: always.",
        json_schema_extra=OF_RULE,
    )
    channel: str = Field(
        default_factory=str, description="The name of a channel.", json_schema_extra=CHANNEL
    )
    recipients: str = Field(
        "", description=f"{EXPRESSION}: one address, or a list.", json_schema_extra=OF_RULE
    )
    to: str = Field(
        "",
        description=f"{EXPRESSION} instead of an address: the id of a stored recipient, or a list.",
        json_schema_extra=OF_RULE,
    )
    category: str = Field(
        "",
        description="The category as which recipients can refuse it.",
        max_length=50,
        json_schema_extra={"pattern": either(CATEGORY)},
    )
    template: str = Field(
        default_factory=str,
        description="The name of a published template.",
        json_schema_extra=text() | SOME,
    )
    context: dict[str, str] = Field(
        {},
        description=f"{EXPRESSION} for each variable. Empty: the data itself.",
        json_schema_extra={
            "propertyNames": {"pattern": NUL_FREE},
            "additionalProperties": {"type": "string", **OF_RULE, **SOME},
        },
    )
    delay: Whole = Field(
        0, ge=0, le=LONGEST_DELAY, description="Seconds from the event to the send."
    )
    priority: str = Field("medium", json_schema_extra=PRIORITY)
    cancel_on: str = Field(
        "",
        description="The name of the event that cancels what waits.",
        json_schema_extra=text(LONGEST_EVENT_NAME, either(EVENT_NAME)),
    )
    match: str = Field(
        "",
        description=f"{EXPRESSION} whose value says which notifications are cancelled.",
        json_schema_extra=OF_RULE,
    )
    cancel_match: str = Field(
        "",
        description="The same for the data of the cancelling event. Empty: the same expression.",
        json_schema_extra=OF_RULE,
    )


class RuleIn(RuleChange):
    """What is sent when an event comes."""

    model_config = ConfigDict(json_schema_extra=WHOLE)

    name: str = Field(min_length=1, max_length=LONGEST_NAME, json_schema_extra=OF_NAME)
    event: str = Field(description="The name of the event.", json_schema_extra=EVENT)
    channel: str = Field(json_schema_extra=CHANNEL)
    template: str = Field(
        description="The name of a published template.", json_schema_extra=text() | SOME
    )


class RuleOut(Schema):
    """A rule as it stands."""

    id: int
    test: bool = Field(description="Whether only test events trigger it.")
    name: str
    enabled: bool
    event: str
    condition: str
    channel: str
    recipients: str
    to: str
    category: str
    template: str
    context: dict[str, str]
    delay: int
    priority: str
    cancel_on: str
    match: str
    cancel_match: str
    created_at: datetime


class Filters(Paging):
    """Which rules."""

    event: Text = Field("", max_length=100)


@router.get("", response=Page[RuleOut], summary="List, newest first")
def list_event_rules(request: HttpRequest, filters: Query[Filters]) -> dict[str, Any]:
    """List the rules."""
    rows = mine(EventRule.objects.all(), request)
    if filters.event:
        rows = rows.filter(event=filters.event)
    page, cursor = cut(rows, filters, int)
    return {"items": page, "next_cursor": cursor}


@router.post("", response={201: RuleOut}, openapi_extra=refuses(409), summary="Create a rule")
def create_event_rule(request: HttpRequest, payload: RuleIn) -> Answer[EventRule]:
    """Make a rule. One that could not work is refused by field."""
    permit_rule(request)
    return Answer(201, _save(EventRule(**world_of(request).columns, **payload.model_dump())))


@router.get("/{int:id}", response=RuleOut, summary="Get a rule")
def get_event_rule(request: HttpRequest, id: Number) -> EventRule:  # noqa: A002 -- the path's own name
    """Return a rule."""
    return _find(request, id)


@router.patch("/{int:id}", response=RuleOut, openapi_extra=refuses(409), summary="Change a rule")
def change_event_rule(request: HttpRequest, id: Number, payload: RuleChange) -> EventRule:  # noqa: A002 -- as above
    """Change what the body names of a rule. What it has caused stays as it is."""
    with transaction.atomic():
        rule = _find(request, id, locks=True)
        permit_rule(request)
        for name, value in payload.model_dump(exclude_unset=True).items():
            setattr(rule, name, value)
        return _save(rule)


@router.delete("/{int:id}", response={204: None}, summary="Delete a rule")
def delete_event_rule(request: HttpRequest, id: Number) -> Answer[None]:  # noqa: A002 -- as above
    """Delete a rule. What it has caused goes on, and no event cancels it any more."""
    _find(request, id).delete()
    return Answer(204, None)


def _save(rule: EventRule) -> EventRule:
    rules.check(rule)
    try:
        with transaction.atomic():
            rule.save()
    except IntegrityError:
        raise Problem("conflict", f"There is a rule {rule.name!r}.", field="name") from None
    return EventRule.objects.get(pk=rule.pk)


def _find(request: HttpRequest, id_: int, *, locks: bool = False) -> EventRule:
    rows = mine(EventRule.objects.all(), request)
    row = (rows.select_for_update() if locks else rows).filter(pk=id_).first()
    if row is None:
        raise Problem("not-found", f"There is no rule {id_}.")
    return row
