"""Batches: many notifications in one request, watched and steered as one."""

from datetime import datetime
from functools import partial
from typing import Any, Literal
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, StreamingHttpResponse
from ninja import Field, Query, Router, Schema
from ninja import Status as Answer

from notifications import submission
from notifications.api.authentication import mine, world_of
from notifications.api.batch_bodies import Rows, read_rows
from notifications.api.contract import refuses
from notifications.api.fields import ChannelFilter, IdempotencyKey, PriorityFilter, Text
from notifications.api.pagination import Page, Paging, cut_by_age
from notifications.api.problems import Problem
from notifications.audiences import sending as audiences
from notifications.core.world import LIVE, World
from notifications.models import Batch
from notifications.operations import batches, refusal_report
from notifications.submission import repeats

router = Router()

CSV, JSON_LINES = "text/csv", "application/jsonl"


class Common(Schema):
    """What all rows share that do not say otherwise themselves."""

    name: Text = Field("", max_length=255, description="Your own name for the batch.")
    channel: ChannelFilter = ""
    template: Text = Field("", max_length=255)
    priority: PriorityFilter = ""
    locale: Text = Field("", max_length=35)
    category: Text = Field("", max_length=50)
    reference: Text = Field("", max_length=255)
    eta: Text = Field("", max_length=40, description="When to send them.")
    countdown: float | None = Field(None, description="Seconds from now, instead of `eta`.")
    local_time: Text = Field(
        "", max_length=40, description="When to send each where its recipient is, like `09:00`."
    )
    expires: Text = Field("", max_length=40, description="A time after which they are not sent.")
    callback_url: Text = Field(
        "",
        max_length=2000,
        description="A URL that gets a signed POST with the final status of each.",
    )


class RowError(Schema):
    """Why a row was refused. `row` counts from 1; `line` is the line of a CSV that it ends on."""

    row: int
    line: int | None
    field: str
    error: str
    detail: str


class SentToAudience(Schema):
    """Whom a batch to an audience goes to, and how many of the rows are written."""

    name: str = Field(description="The audience's name.")
    members: Literal["frozen"] = Field(
        description="`frozen`: who was in it at `frozen_at`. A schedule has an audience of its own "
        "at each fire."
    )
    frozen_at: datetime
    matched: int = Field(description="How many recipients there were.")
    left: int = Field(description="How many of them have no notification yet.")
    cancelled: int = Field(description="How many get none, as the batch was cancelled first.")
    reasons: dict[str, int] = Field(
        description="Why nothing is sent, with how many: errors by name, and rules that hold back."
    )
    finished_at: datetime | None


class BatchOut(Schema):
    """A batch as it stands; `duplicates` had an idempotency key that other rows had before."""

    id: UUID
    name: str
    test: bool = Field(description="Whether a test key made it, so that all its rows are tests.")
    state: str
    accepted: int
    refused: int
    duplicates: int
    blank: int = Field(description="Blank rows of the CSV, which were skipped.")
    errors: list[RowError] = Field(
        description="The first 1,000 refused rows; the report at `errors_url` has all."
    )
    audience: SentToAudience | None = Field(description="Of a batch to an audience.")
    closed_at: datetime | None
    created_at: datetime
    url: str
    errors_url: str

    @staticmethod
    def resolve_audience(row: Batch) -> dict[str, Any] | None:
        """Say whom it goes to."""
        expansion = getattr(row, "expansion", None)
        if expansion is None:
            return None
        plain = ("frozen_at", "matched", "reasons", "finished_at")
        return {
            "name": expansion.audience,
            "members": "frozen",
            "left": expansion.left,
            "cancelled": expansion.cancelled,
            **{name: getattr(expansion, name) for name in plain},
        }

    @staticmethod
    def resolve_errors_url(row: Batch) -> str:
        """Say where the whole report is."""
        return f"/api/v1/notifications/batch/{row.id}/errors"

    @staticmethod
    def resolve_errors(row: Batch) -> list[RowError]:
        """Count rows as people do."""
        return [
            RowError(
                row=error["index"] + 1,
                line=error.get("line"),
                field=error["field"],
                error=error["error"],
                detail=error["detail"],
            )
            for error in row.errors
        ]

    @staticmethod
    def resolve_url(row: Batch) -> str:
        """Say where to follow it."""
        return f"/api/v1/notifications/batch/{row.id}"


class BatchDetail(BatchOut):
    """A batch with how far its notifications are."""

    progress: dict[str, int] = Field(description="How many are in each state.")

    @staticmethod
    def resolve_progress(row: Batch) -> dict[str, int]:
        """Count them."""
        return batches.progress(row)


@router.post(
    "",
    response={202: BatchOut, 200: BatchOut},
    openapi_extra=refuses(409, 413, 415, body="Batch"),
    summary="Send many",
)
def create_batch(
    request: HttpRequest, common: Query[Common], idempotency_key: IdempotencyKey = ""
) -> Answer[Batch]:
    """Accept up to 100,000 notifications; once this answers, those that are fine are stored.

    The body is a JSON list of notifications, or an object of `notifications` and `common`, the
    fields that all of them share, such as `attachments`; or a CSV (`Content-Type: text/csv`)
    whose columns `recipient`, `to` (the id of a stored recipient), `account`, `category`,
    `idempotency_key`, `reference`, `locale`, `eta` and `local_time` are what they are called, and
    whose other columns are the template's variables; without a template, `subject` and `body` are
    the text, and another column is refused. Commas, semicolons and tabs are recognised. A CSV is
    read by the `charset` of its content type, else as UTF-8 or UTF-16. Rows that are refused, or
    that cannot be read, stop no others.

    An object of `audience`, `common` and `variables` goes to a saved audience, however many
    recipients it has: who is in it is decided now, and the rows follow within seconds to minutes.

    The same idempotency key with the same content answers 200 with the first batch, and accepts
    what an interruption has left of it; with another content 409.
    """
    rows = read_rows(request, template=common.template)
    given = rows.common | {
        name: value for name, value in common.dict().items() if value not in ("", None)
    }
    world = world_of(request)
    if rows.to_audience:
        return _to_audience(rows, given, idempotency_key, world)
    items = partial(rows.notifications, key=idempotency_key, test=world.test)
    batch, created = None, True
    if idempotency_key:
        content = repeats.content_hash(items(), given)
        batch, created = repeats.of_key(idempotency_key, content, world=world, name=common.name)
    name = given.pop("name", "")
    submitted = submission.send_many(
        items(),
        name=name,
        batch=batch,
        lines=rows.lines,
        blank=rows.blank,
        **(given if world == LIVE else {**world.columns, **given}),
    )
    return Answer(202 if created else 200, submitted.batch)


def _to_audience(rows: Rows, given: dict[str, Any], key: str, world: World) -> Answer[Batch]:
    """Begin a batch to an audience; raises as ``audiences.send_to_audience``."""
    name = given.pop("name", "")
    if world != LIVE:
        given = {**given, **world.columns}
    wanted = audiences.check(rows.audience, given, rows.variables, world)
    with transaction.atomic():
        if key:
            batch, created = repeats.of_key(key, wanted.content, world=world, name=name)
        else:
            batch, created = Batch.objects.create(name=name, **world.columns), True
        return Answer(202 if created else 200, wanted.begin(batch))


@router.get("", response=Page[BatchOut], summary="List batches, newest first")
def list_batches(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """List batches."""
    page, cursor = cut_by_age(mine(Batch.objects.select_related("expansion"), request), paging)
    return {"items": page, "next_cursor": cursor}


@router.get("/{id}", response=BatchDetail, summary="A batch's progress")
def get_batch(request: HttpRequest, id: UUID) -> Batch:  # noqa: A002 -- the path's own name
    """Return a batch with its progress."""
    return _find(request, id)


@router.get(
    "/{id}/errors",
    summary="All refused rows",
    openapi_extra={
        "responses": {
            200: {
                "description": "The report, as CSV or as one JSON object a line.",
                "content": {kind: {"schema": {"type": "string"}} for kind in (CSV, JSON_LINES)},
            }
        }
    },
)
def get_batch_errors(
    request: HttpRequest,
    id: UUID,  # noqa: A002 -- as above
    format: Literal["csv", "jsonl"] = "csv",  # noqa: A002 -- what it is called elsewhere
) -> StreamingHttpResponse:
    """Download the report of all refused rows: `row`, `line`, `field`, `error`, `detail`."""
    batch = _find(request, id)
    write, kind = {
        "csv": (refusal_report.as_csv, CSV),
        "jsonl": (refusal_report.as_json_lines, JSON_LINES),
    }[format]
    name = f'attachment; filename="refused-{batch.pk}.{format}"'
    return StreamingHttpResponse(
        write(batch.pk), content_type=kind, headers={"Content-Disposition": name}
    )


@router.post("/{id}/pause", response=BatchDetail, openapi_extra=refuses(409), summary="Hold back")
def pause_batch(request: HttpRequest, id: UUID) -> Batch:  # noqa: A002 -- as above
    """Hold back what no worker has yet; 409 unless it is active.

    Once this answers, nothing more of it is taken; what is `sending` may still go out.
    """
    batch = _find(request, id)
    return _turned(batch, done=batches.pause(batch))


@router.post("/{id}/resume", response=BatchDetail, openapi_extra=refuses(409), summary="Go on")
def resume_batch(request: HttpRequest, id: UUID) -> Batch:  # noqa: A002 -- as above
    """Go on with a paused batch; 409 unless it is paused."""
    batch = _find(request, id)
    return _turned(batch, done=batches.resume(batch))


@router.post("/{id}/cancel", response=BatchDetail, openapi_extra=refuses(409), summary="Call off")
def cancel_batch(request: HttpRequest, id: UUID) -> Batch:  # noqa: A002 -- as above
    """Call off what no worker has yet; 409 if it was cancelled before.

    Once this answers, nothing more of it is taken: `progress` counts as `cancelled` what will
    never be sent, and as `sending` what may still go out.
    """
    batch = _find(request, id)
    return _turned(batch, done=batches.cancel(batch))


def _turned(batch: Batch, *, done: bool) -> Batch:
    if not done:
        raise Problem("conflict", f"The batch is {batch.state}.")
    return batch


def _find(request: HttpRequest, id_: UUID) -> Batch:
    batch = mine(Batch.objects.all(), request).filter(id=id_).first()
    if batch is None:
        raise Problem("not-found", f"There is no batch {id_}.")
    return batch
