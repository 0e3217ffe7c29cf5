"""Events: what happened elsewhere, and what its rules have made of it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from ninja import Status as Answer

from notifications import events
from notifications.api.authentication import mine, world_of
from notifications.api.contract import refuses
from notifications.api.fields import EVENT, IdempotencyKey, Input, Text, one_of
from notifications.api.json_schemas import text
from notifications.api.pagination import Page, Paging, cut_by_age
from notifications.api.problems import Problem
from notifications.events.emission import LONGEST_KEY
from notifications.models import Event, EventEffect

router = Router()


class EventIn(Input):
    """Something that happened."""

    name: str = Field(description="Like `payment.settled`.", json_schema_extra=EVENT)
    key: str = Field(
        "",
        description="A second request with the same key and content returns the first event.",
        json_schema_extra=text(LONGEST_KEY),
    )
    data: dict[str, Any] | None = Field(
        None, description="What rules read: conditions, addresses and the template's variables."
    )


class Effect(Schema):
    """What one rule made of an event, for one recipient."""

    rule: str = Field(description="The rule's name at that time.")
    outcome: str = Field(
        json_schema_extra=one_of(tuple(EventEffect.Outcome.values)),
        description="`unmet`: the condition was false.",
    )
    notification: UUID | None
    field: str = Field(description="Of a refusal: the field of the rule, or of the notification.")
    detail: str
    cancellation: str = Field(
        json_schema_extra=one_of(("", *EventEffect.Cancellation.values)),
        description="`too_late`: it was being sent already; it will not be retried.",
    )
    cancelled_by: UUID | None = Field(description="The event that cancelled it.")


class EmittedEvent(Schema):
    """An event as it was accepted, with what it has caused."""

    id: UUID
    name: str
    key: str
    data: dict[str, Any]
    test: bool
    created_at: datetime
    effects: list[Effect]

    @staticmethod
    def resolve_effects(event: Event) -> list[dict[str, Any]]:
        """Return the effects in the order of their rules."""
        return [
            {
                "rule": effect.rule_name,
                "notification": effect.notification_id,
                "cancelled_by": effect.cancelled_by_id,
                **{n: getattr(effect, n) for n in ("outcome", "field", "detail", "cancellation")},
            }
            for effect in event.effects.all()
        ]


class Filters(Paging):
    """Which events."""

    name: Text = Field("", max_length=100)
    key: Text = Field("", max_length=255)


@router.post(
    "",
    response={201: EmittedEvent, 200: EmittedEvent},
    openapi_extra=refuses(409),
    summary="Emit an event",
)
def create_event(
    request: HttpRequest, payload: EventIn, idempotency_key: IdempotencyKey = ""
) -> Answer[Event]:
    """Accept an event: once this answers, it is stored with all that its rules make of it.

    The same key with the same name and data answers 200 with the first answer; with others 409.
    """
    if idempotency_key and payload.key not in ("", idempotency_key):
        raise Problem(
            "invalid-request",
            "The header and the body name different idempotency keys.",
            field="key",
            hint="Use one key in both places, or name it in one place only.",
        )
    emission = events.emit(
        payload.name,
        payload.data,
        key=payload.key or idempotency_key,
        **world_of(request).columns,
    )
    return Answer(201 if emission.created else 200, _find(request, emission.id))


@router.get("", response=Page[EmittedEvent], summary="List, newest first")
def list_events(request: HttpRequest, filters: Query[Filters]) -> dict[str, Any]:
    """List events with what they have caused."""
    chosen = filters.dict(include={"name", "key"})
    rows = _rows(request).filter(**{name: value for name, value in chosen.items() if value})
    page, cursor = cut_by_age(rows, filters)
    return {"items": page, "next_cursor": cursor}


@router.get("/{id}", response=EmittedEvent, summary="Get one")
def get_event(request: HttpRequest, id: UUID) -> Event:  # noqa: A002 -- the path's own name
    """Return an event with what it has caused."""
    return _find(request, id)


def _rows(request: HttpRequest) -> "QuerySet[Event]":
    effects = EventEffect.objects.order_by("pk")
    return mine(Event.objects.prefetch_related(Prefetch("effects", effects)), request)


def _find(request: HttpRequest, id_: UUID) -> Event:
    row = _rows(request).filter(pk=id_).first()
    if row is None:
        raise Problem("not-found", f"There is no event {id_}.")
    return row
