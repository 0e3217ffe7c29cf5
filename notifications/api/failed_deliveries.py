"""Failed deliveries: look at them by cause, and replay or discard one or many."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from ninja import Status as Answer

from notifications.api.authentication import mine, world_of
from notifications.api.contract import refuses
from notifications.api.fields import ChannelFilter, Input, Number, Text, filter_by, one_of
from notifications.api.pagination import Page, Paging, cut
from notifications.api.problems import Problem
from notifications.delivery import failed_deliveries
from notifications.models import BulkReplay, FailedDelivery
from notifications.operations import bulk_replays, causes, replays

router = Router()

STATES = tuple(FailedDelivery.State.values)
StateFilter = Annotated[str, *filter_by(STATES)]


class FailedDeliveryOut(Schema):
    """What could not be delivered, and why."""

    id: int
    notification: UUID | None = Field(description="Null if it never became a notification.")
    test: bool
    channel: str
    priority: str
    reason: str
    error_class: str
    code: str = Field(description="The provider's own code.")
    detail: str
    provider: str
    fingerprint: str = Field(description="The cause's id.")
    state: str = Field(json_schema_extra=one_of(STATES))
    resolution: str
    resolved_at: datetime | None
    replayed_as: UUID | None
    created_at: datetime

    @staticmethod
    def resolve_notification(row: FailedDelivery) -> UUID | None:
        """Return the id; the other row is not read for it."""
        return row.notification_id

    @staticmethod
    def resolve_replayed_as(row: FailedDelivery) -> UUID | None:
        """Return the id; the other row is not read for it."""
        return row.replayed_as_id


class FailedDeliveryDetail(FailedDeliveryOut):
    """A failed delivery with its whole history."""

    history: list[dict[str, Any]] = Field(description="The attempts, oldest first.")
    request: dict[str, Any] | None = Field(
        description="The request, if it never became a notification."
    )


class Cause(Schema):
    """The open failed deliveries of one cause."""

    fingerprint: str
    count: int
    first_at: datetime
    last_at: datetime
    channel: str
    provider: str
    reason: str
    code: str
    detail: str = Field(description="The newest failure's detail.")


class Replayed(Schema):
    """The new notification."""

    notification: UUID
    url: str


class BulkReplayIn(Input):
    """Which to replay, and how fast."""

    fingerprint: Text = Field("", max_length=32, description="One cause; empty for all of them.")
    per_second: float = Field(gt=0, le=bulk_replays.FASTEST)


class BulkReplayOut(Schema):
    """A replay of many, as far as it has got; `refused` counts by reason."""

    id: int
    fingerprint: str
    per_second: float
    total: int
    accepted: int
    refused: dict[str, int]
    created_at: datetime
    finished_at: datetime | None


class DiscardIn(Input):
    """Why it need not be delivered any more."""

    reason: Text = Field(min_length=1, max_length=255)


class BulkDiscardIn(DiscardIn):
    """Which to discard, and why."""

    fingerprint: Text = Field(min_length=1, max_length=32)


class Discarded(Schema):
    """How many were still open."""

    discarded: int


class FailedFilters(Paging):
    """Which failed deliveries."""

    state: StateFilter = ""
    fingerprint: Text = Field("", max_length=32)
    channel: ChannelFilter = ""
    reason: Text = Field("", max_length=50)


@router.get("", response=Page[FailedDeliveryOut], summary="List, newest first")
def list_failed_deliveries(request: HttpRequest, filters: Query[FailedFilters]) -> dict[str, Any]:
    """List failed deliveries; `state=open` gives those that nobody has seen to."""
    chosen = filters.dict(include={"state", "fingerprint", "channel", "reason"})
    rows = mine(FailedDelivery.objects.all(), request)
    rows = rows.filter(**{name: value for name, value in chosen.items() if value})
    page, cursor = cut(rows, filters, int)
    return {"items": page, "next_cursor": cursor}


@router.get("/causes", response=list[Cause], summary="By cause, the biggest first")
def list_causes(request: HttpRequest) -> list[Cause]:
    """Group the open failed deliveries by cause; the 50 biggest."""
    return [
        Cause(
            fingerprint=cause.fingerprint,
            count=cause.count,
            first_at=cause.first_at,
            last_at=cause.last_at,
            channel=cause.example.channel,
            provider=cause.example.provider,
            reason=cause.example.reason,
            code=cause.example.code,
            detail=cause.example.detail,
        )
        for cause in causes.causes(world=world_of(request))
    ]


@router.post("/replays", response={202: BulkReplayOut}, summary="Replay many")
def create_bulk_replay(request: HttpRequest, payload: BulkReplayIn) -> Answer[BulkReplay]:
    """Order a replay of all open failed deliveries of a cause, at a rate."""
    ordered = bulk_replays.order(payload.fingerprint, payload.per_second, world=world_of(request))
    return Answer(202, BulkReplay.objects.get(pk=ordered.pk))


@router.get("/replays/{int:id}", response=BulkReplayOut, summary="Follow a replay of many")
def get_bulk_replay(request: HttpRequest, id: Number) -> BulkReplay:  # noqa: A002 -- the path's name
    """Tell how far a replay of many has got."""
    row = mine(BulkReplay.objects.all(), request).filter(pk=id).first()
    if row is None:
        raise Problem("not-found", f"There is no replay {id}.")
    return row


@router.post("/discard", response=Discarded, summary="Discard many")
def discard_failed_deliveries(request: HttpRequest, payload: BulkDiscardIn) -> Discarded:
    """Close all open failed deliveries of a cause for good."""
    rows = bulk_replays.open_ones(payload.fingerprint, world_of(request))
    return Discarded(discarded=failed_deliveries.discard(rows, why=payload.reason))


@router.get("/{int:id}", response=FailedDeliveryDetail, summary="Get one")
def get_failed_delivery(request: HttpRequest, id: Number) -> FailedDelivery:  # noqa: A002 -- as above
    """Return a failed delivery with its history."""
    return _find(request, id)


@router.post(
    "/{int:id}/replay",
    response={201: Replayed},
    openapi_extra=refuses(409),
    summary="Send again",
)
def replay_failed_delivery(request: HttpRequest, id: Number) -> Answer[Replayed]:  # noqa: A002 -- as above
    """Send it again as a new notification; 409 when it was seen to before or is past its expiry."""
    again = replays.replay(_find(request, id))
    return Answer(201, Replayed(notification=again.id, url=f"/api/v1/notifications/{again.id}"))


@router.post(
    "/{int:id}/discard",
    response=FailedDeliveryOut,
    openapi_extra=refuses(409),
    summary="Discard one",
)
def discard_failed_delivery(
    request: HttpRequest,
    id: Number,  # noqa: A002 -- as above
    payload: DiscardIn,
) -> FailedDelivery:
    """Close it for good; 409 when it was seen to before."""
    _find(request, id)
    if not failed_deliveries.discard(FailedDelivery.objects.filter(pk=id), why=payload.reason):
        raise Problem("conflict", "It was replayed or discarded before.")
    return _find(request, id)


def _find(request: HttpRequest, id_: int) -> FailedDelivery:
    row = mine(FailedDelivery.objects.all(), request).select_related(
        "notification__template_version__template"
    )
    dead = row.filter(pk=id_).first()
    if dead is None:
        raise Problem("not-found", f"There is no failed delivery {id_}.")
    return dead
