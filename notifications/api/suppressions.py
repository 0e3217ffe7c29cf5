"""Suppressions: who must not be written to."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from ninja import Status as Answer

from notifications.api.authentication import key_of, mine, world_of
from notifications.api.contract import refuses
from notifications.api.fields import (
    CHANNEL,
    ChannelFilter,
    Input,
    Number,
    Text,
    filter_by,
    one_of,
)
from notifications.api.pagination import Page, Paging, cut
from notifications.api.problems import Problem
from notifications.channels import CHANNELS
from notifications.core.errors import UnknownChannel
from notifications.models import Suppression
from notifications.recipients import spellings, suppressions

router = Router()

SCOPES = tuple(Suppression.Scope.values)
REASONS = tuple(Suppression.Reason.values)


class SuppressionIn(Input):
    """Whom not to write to, by which channel."""

    channel: str = Field(json_schema_extra=CHANNEL)
    recipient: Text = Field(min_length=1, max_length=2000)
    scope: Annotated[str, *filter_by(SCOPES)] = Field(
        "", description="`marketing` holds back only templates of that category."
    )
    detail: Text = Field("", max_length=2000)


class SuppressionOut(Schema):
    """A recipient that a channel must not reach."""

    id: int
    channel: str
    test: bool = Field(description="Whether it applies to tests only.")
    recipient: str
    scope: str = Field(json_schema_extra=one_of(SCOPES))
    reason: str = Field(json_schema_extra=one_of(REASONS))
    source: str
    detail: str
    created_at: datetime
    lifted_at: datetime | None


class SuppressionFilters(Paging):
    """Which suppressions."""

    channel: ChannelFilter = ""
    recipient: Text = Field("", max_length=2000)
    reason: Annotated[str, *filter_by(REASONS)] = ""
    lifted: bool = Field(default=False, description="Lifted suppressions instead of active ones.")


@router.get("", response=Page[SuppressionOut], summary="List, newest first")
def list_suppressions(request: HttpRequest, filters: Query[SuppressionFilters]) -> dict[str, Any]:
    """List the suppressions in force, or those that were lifted."""
    rows = mine(Suppression.objects.all(), request).filter(lifted_at__isnull=not filters.lifted)
    chosen = filters.dict(include={"channel", "reason"})
    rows = rows.filter(**{name: value for name, value in chosen.items() if value})
    if filters.recipient:
        forms = spellings.of(filters.recipient, filters.channel)
        rows = rows.filter(suppressions.whose(forms, filters.channel))
    page, cursor = cut(rows, filters, int)
    return {"items": page, "next_cursor": cursor}


@router.post(
    "",
    response={201: SuppressionOut},
    openapi_extra=refuses(409),
    summary="Suppress a recipient",
)
def create_suppression(request: HttpRequest, payload: SuppressionIn) -> Answer[Suppression]:
    """Suppress a recipient. One that is suppressed already stays so, for its first reason."""
    if payload.channel not in CHANNELS:
        raise UnknownChannel(
            f"There is no channel {payload.channel!r}.",
            field="channel",
            hint=f"Use one of: {', '.join(CHANNELS)}.",
        )
    recipient = CHANNELS[payload.channel].clean_recipient(payload.recipient)
    world = world_of(request)
    scope = payload.scope or Suppression.Scope.EVERYTHING
    suppressions.suppress(
        payload.channel,
        recipient,
        Suppression.Reason.OPERATOR,
        world=world,
        scope=scope,
        source=f"API key {key_of(request).prefix}",
        detail=payload.detail,
    )
    row = Suppression.objects.filter(
        **world.columns,
        channel=payload.channel,
        recipient=suppressions.comparable(payload.channel, recipient),
        scope=scope,
        lifted_at=None,
    ).first()
    if row is None:
        raise Problem("conflict", "Another request lifted it at the same moment.")
    return Answer(201, row)


@router.delete("/{id}", response={204: None}, summary="Lift a suppression")
def lift_suppression(request: HttpRequest, id: Number) -> Answer[None]:  # noqa: A002 -- the path's own name
    """Lift a suppression: the recipient may be written to again."""
    row = mine(Suppression.objects.all(), request).filter(pk=id, lifted_at=None).first()
    if row is None:
        raise Problem("not-found", f"There is no suppression {id} in force.")
    suppressions.lift([row])
    return Answer(204, None)
