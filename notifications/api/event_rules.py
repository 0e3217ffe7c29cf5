"""Rules of events: what is sent when an event comes, and what cancels it."""

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from ninja import Status as Answer

from notifications.api.access import permit_rule
from notifications.api.authentication import mine, world_of
from notifications.api.contract import refuses
from notifications.api.fields import CHANNEL, EVENT, PRIORITY, Input, Number, Text, Whole
from notifications.api.pagination import Page, Paging, cut
from notifications.api.problems import Problem
from notifications.events import rules
from notifications.models import EventRule

router = Router()

EXPRESSION = "An expression of CEL over `data`"


class RuleChange(Input):
    """What a rule is to be from now on; what is not named stays."""

    name: str = ""
    enabled: bool = True
    event: str = Field("", description="The name of the event.")
    condition: str = Field("", description=f"{EXPRESSION} that must be true. Empty: always.")
    channel: str = Field("", description="The name of a channel.")
    recipients: str = Field("", description=f"{EXPRESSION}: one address, or a list.")
    to: str = Field(
        "",
        description=f"{EXPRESSION} instead of an address: the id of a stored recipient, or a list.",
    )
    category: str = Field(
        "", description="The category as which recipients can refuse it.", max_length=50
    )
    template: str = Field("", description="The name of a published template.")
    context: dict[str, str] = Field(
        {}, description=f"{EXPRESSION} for each variable. Empty: the data itself."
    )
    delay: Whole = Field(0, ge=0, le=315_360_000, description="Seconds from the event to the send.")
    priority: str = Field("medium", json_schema_extra=PRIORITY)
    cancel_on: str = Field("", description="The name of the event that cancels what waits.")
    match: str = Field(
        "", description=f"{EXPRESSION} whose value says which notifications are cancelled."
    )
    cancel_match: str = Field(
        "", description="The same for the data of the cancelling event. Empty: the same expression."
    )


class RuleIn(RuleChange):
    """What is sent when an event comes."""

    name: str = Field(min_length=1, max_length=100)
    event: str = Field(description="The name of the event.", json_schema_extra=EVENT)
    channel: str = Field(json_schema_extra=CHANNEL)
    template: str = Field(description="The name of a published template.")


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
