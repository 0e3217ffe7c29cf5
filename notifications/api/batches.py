"""Batches: many notifications in one request, watched and steered as one."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from ninja import Status as Answer

from notifications import batches, submission
from notifications.api.authentication import READ, SEND, is_test
from notifications.api.batch_bodies import read_rows
from notifications.api.contract import refuses
from notifications.api.fields import ChannelFilter, PriorityFilter, Text
from notifications.api.notifications import IdempotencyKey
from notifications.api.pagination import Page, Paging, cut
from notifications.api.problems import Problem
from notifications.models import Batch

router = Router()


class Common(Schema):
    """What all rows share that do not say otherwise themselves."""

    name: Text = Field("", max_length=255, description="Your own name for the batch.")
    channel: ChannelFilter = ""
    template: Text = Field("", max_length=255)
    priority: PriorityFilter = ""
    locale: Text = Field("", max_length=35)
    reference: Text = Field("", max_length=255)
    eta: Text = Field("", max_length=40, description="When to send them.")
    expires: Text = Field("", max_length=40, description="A time after which they are not sent.")


class RowError(Schema):
    """Why a row was refused. `row` counts from 1; `line` is the line of a CSV that it ends on."""

    row: int
    line: int | None
    field: str
    error: str
    detail: str


class BatchOut(Schema):
    """A batch as it stands; `duplicates` had an idempotency key that was used before."""

    id: UUID
    name: str
    state: str
    accepted: int
    refused: int
    duplicates: int
    errors: list[RowError] = Field(description="The first 1,000 refused rows.")
    closed_at: datetime | None
    created_at: datetime
    url: str

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
    auth=SEND,
    response={202: BatchOut},
    openapi_extra=refuses(413, 415, body="Batch"),
    summary="Send many",
)
def create_batch(
    request: HttpRequest, common: Query[Common], idempotency_key: IdempotencyKey = ""
) -> Answer[Batch]:
    """Accept up to 100,000 notifications; once this answers, those that are fine are stored.

    The body is a JSON list of notifications, or a CSV (`Content-Type: text/csv`) whose columns
    `recipient`, `idempotency_key`, `reference` and `locale` are what they are called, and whose
    other columns are the template's variables. Rows that are refused stop no others. With an
    idempotency key, repeating the request sends nothing twice.
    """
    rows = read_rows(request)
    shared = {name: value for name, value in common.dict(exclude={"name"}).items() if value}
    submitted = submission.send_many(
        rows.notifications(key=idempotency_key, test=is_test(request)), name=common.name, **shared
    )
    batch = submitted.batch
    if rows.lines:
        batch.errors = [{**error, "line": rows.lines[error["index"]]} for error in batch.errors]
        Batch.objects.filter(pk=batch.pk).update(errors=batch.errors)
    return Answer(202, batch)


@router.get("", auth=READ, response=Page[BatchOut], summary="List batches, newest first")
def list_batches(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """List batches."""
    page, cursor = cut(Batch.objects.all(), paging, UUID)
    return {"items": page, "next_cursor": cursor}


@router.get("/{id}", auth=READ, response=BatchDetail, summary="How far a batch is")
def get_batch(request: HttpRequest, id: UUID) -> Batch:  # noqa: A002 -- the path's own name
    """Give a batch with its progress."""
    return _find(id)


@router.post(
    "/{id}/pause", auth=SEND, response=BatchDetail, openapi_extra=refuses(409), summary="Hold back"
)
def pause_batch(request: HttpRequest, id: UUID) -> Batch:  # noqa: A002 -- as above
    """Hold back what no worker has yet; 409 unless it is active."""
    batch = _find(id)
    return _turned(batch, done=batches.pause(batch))


@router.post(
    "/{id}/resume", auth=SEND, response=BatchDetail, openapi_extra=refuses(409), summary="Go on"
)
def resume_batch(request: HttpRequest, id: UUID) -> Batch:  # noqa: A002 -- as above
    """Go on with a paused batch; 409 unless it is paused."""
    batch = _find(id)
    return _turned(batch, done=batches.resume(batch))


@router.post(
    "/{id}/cancel", auth=SEND, response=BatchDetail, openapi_extra=refuses(409), summary="Call off"
)
def cancel_batch(request: HttpRequest, id: UUID) -> Batch:  # noqa: A002 -- as above
    """Call off what no worker has yet; 409 if it was cancelled before."""
    batch = _find(id)
    return _turned(batch, done=batches.cancel(batch))


def _turned(batch: Batch, *, done: bool) -> Batch:
    if not done:
        raise Problem("conflict", f"The batch is {batch.state}.")
    return batch


def _find(id_: UUID) -> Batch:
    batch = Batch.objects.filter(id=id_).first()
    if batch is None:
        raise Problem("not-found", f"There is no batch {id_}.")
    return batch
