"""Notifications: create, list, get, cancel, and note that one was read."""

from datetime import timedelta
from typing import Annotated, Any, NoReturn, TypeVar
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router
from pydantic import TypeAdapter

from notifications import submission
from notifications.api.authentication import mine, world_of
from notifications.api.contract import refuses
from notifications.api.fields import (
    ChannelFilter,
    IdempotencyKey,
    Moment,
    PriorityFilter,
    Text,
    filter_by,
)
from notifications.api.notification_bodies import (
    Accepted,
    NotificationDetail,
    NotificationIn,
    NotificationOut,
)
from notifications.api.pagination import Page, Paging, cut_by_age
from notifications.api.problems import Problem
from notifications.core.reasons import Reason
from notifications.core.world import World
from notifications.delivery import outcomes
from notifications.models import (
    ArchivedNotification,
    Notification,
    NotificationRecord,
    Status,
    in_state,
)
from notifications.models.project import within
from notifications.recipients import spellings
from templates_engine.models import TemplateVersion

router = Router()

Record = TypeVar("Record", bound=NotificationRecord)

# A change within this time of ``created_at`` belongs to the acceptance itself.
ACCEPTING = timedelta(seconds=1)

StatusFilter = Annotated[str, *filter_by(tuple(Status.values))]

_JSON = TypeAdapter(dict[str, Any])
# Columns of the row.
_ACCEPTED = [name for name in Accepted.model_fields if name not in ("url", "copies", "digest")]


class Filters(Paging):
    """Which notifications."""

    status: StatusFilter = ""
    channel: ChannelFilter = ""
    priority: PriorityFilter = ""
    recipient: Text = Field("", max_length=2000)
    to: Text = Field("", max_length=255, description="The id of a stored recipient.")
    reference: Text = Field("", max_length=255)
    template: Text = Field("", max_length=100)
    batch: UUID | None = None
    digest: UUID | None = Field(None, description="What has gone with a digest, and the digest.")
    archived: bool = Field(
        default=False, description="Archived notifications instead of live ones."
    )
    created_after: Moment | None = None
    created_before: Moment | None = None


@router.post(
    "",
    response={201: Accepted, 200: Accepted},
    openapi_extra=refuses(409),
    summary="Send, now or later",
)
def create_notification(
    request: HttpRequest,
    payload: NotificationIn,
    idempotency_key: IdempotencyKey = "",
) -> HttpResponse:
    """Accept a notification: once this answers, it is stored and will be seen to.

    The same idempotency key with the same content answers 200 with the first answer; with
    another content 409.
    """
    fields = payload.model_dump(exclude_unset=True)
    if idempotency_key:
        _add_key(fields, idempotency_key)
    world = world_of(request)
    fields["project"] = world.project
    if world.test:
        fields["test"] = True
    return _answer(submission.submit(fields))


@router.get("", response=Page[NotificationOut], summary="List, newest first")
def list_notifications(request: HttpRequest, filters: Query[Filters]) -> dict[str, Any]:
    """List notifications. What arrives while you turn the pages comes before the first."""
    page, cursor = cut_by_age(_filtered(world_of(request), filters), filters)
    return {"items": page, "next_cursor": cursor}


@router.get("/{id}", response=NotificationDetail, summary="Get one")
def get_notification(request: HttpRequest, id: UUID) -> NotificationRecord:  # noqa: A002 -- the path's own name
    """Return a notification with its attempts and the decisions about it."""
    archived = _with_template(mine(ArchivedNotification.objects.all(), request))
    return (
        _with_template(mine(Notification.objects.all(), request)).filter(id=id).first()
        or archived.filter(id=id).order_by("-finished_at").first()
        or _missing(id)
    )


@router.post(
    "/{id}/cancel",
    response=NotificationOut,
    openapi_extra=refuses(409),
    summary="Call off",
)
def cancel_notification(request: HttpRequest, id: UUID) -> Notification:  # noqa: A002 -- as above
    """Cancel a notification that no worker has yet; 409 when it is too late."""
    find(request, id)
    cancellation = submission.cancel(id)
    if not cancellation and cancellation.status != Status.CANCELLED:
        raise Problem("conflict", f"It is too late: the notification is {cancellation.status}.")
    return find(request, id)


@router.post(
    "/{id}/read",
    response=NotificationOut,
    openapi_extra=refuses(409),
    summary="Report that it was read",
)
def read_notification(request: HttpRequest, id: UUID) -> Notification:  # noqa: A002 -- as above
    """Note that the recipient has opened it, so also that it was delivered; 409 if it is not sent.

    The first time counts. It ends the chain that the notification is a step of.
    """
    row = find(request, id)
    if not outcomes.confirm_read(id):
        raise Problem("conflict", f"It was not sent: the notification is {row.status}.")
    return find(request, id)


def find(request: HttpRequest, id_: UUID) -> Notification:
    """Read a notification that lives. Raises ``Problem`` 404."""
    rows = mine(Notification.objects.all(), request)
    return _with_template(rows).filter(id=id_).first() or _missing(id_)


def _missing(id_: UUID) -> NoReturn:
    raise Problem("not-found", f"There is no notification {id_}.")


def _with_template(rows: "QuerySet[Record]") -> "QuerySet[Record]":
    return rows.select_related("template_version__template", "mail")


def _filtered(world: World, filters: Filters) -> "QuerySet[Any]":
    table = ArchivedNotification if filters.archived else Notification
    rows: QuerySet[Any] = _with_template(within(table.objects.all(), world))
    exact = ("channel", "priority", "reference")
    rows = rows.filter(**{name: value for name in exact if (value := getattr(filters, name))})
    if filters.status:
        state = rows.filter(status=filters.status)
        rows = state if filters.archived else in_state(rows, filters.status)
    if filters.recipient:
        rows = rows.filter(recipient__in=spellings.kept(table, filters.recipient, filters.channel))
    if filters.to:
        rows = rows.filter(recipient_key=filters.to)
    if filters.digest:
        rows = rows.filter(digest_id=filters.digest)
    if filters.batch:
        rows = rows.filter(batch_id=filters.batch)
    if filters.template:
        versions = TemplateVersion.objects.filter(template__name=filters.template)
        rows = rows.filter(template_version__in=list(versions.values_list("pk", flat=True)))
    if filters.created_after:
        rows = rows.filter(created_at__gt=filters.created_after)
    if filters.created_before:
        rows = rows.filter(created_at__lt=filters.created_before)
    return rows


def _add_key(fields: dict[str, Any], key: str) -> None:
    if fields.get("idempotency_key") not in (None, "", key):
        raise Problem(
            "invalid-request",
            "The header and the body name different idempotency keys.",
            field="idempotency_key",
            hint="Use one key in both places, or name it in one place only.",
        )
    fields["idempotency_key"] = key


def _answer(submitted: submission.Submission) -> HttpResponse:
    """Write what ``Accepted`` describes, from the row as it was inserted: it needs no model."""
    row = submitted.row
    document = {name: row[name] for name in _ACCEPTED}
    if not submitted.created:
        now = submitted.notification
        document["throttle"] = now.throttle
        document["status"] = _status_on_acceptance(now)
        ended = document["status"] in (Status.SUPPRESSED, Status.EXPIRED)
        if not ended and now.reason not in (Reason.WINDOW_CLOSED, Reason.THROTTLED):
            document["reason"] = ""
    document["copies"] = submitted.copies
    document["digest"] = row["digest_id"]
    document["url"] = f"/api/v1/notifications/{row['id']}"
    status = 201 if submitted.created else 200
    return HttpResponse(_JSON.dump_json(document), content_type="application/json", status=status)


def _status_on_acceptance(row: Notification) -> Status:
    """Say what the first answer said, wherever the row has got to since."""
    ended = row.finished_at
    at_once = (Status.SUPPRESSED, Status.EXPIRED, Status.MERGED)
    if row.status in at_once and ended and ended - row.created_at < ACCEPTING:
        return Status(row.status)
    waited = row.scheduled_at - row.created_at > ACCEPTING
    return Status.SCHEDULED if waited else Status.QUEUED
