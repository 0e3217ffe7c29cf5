"""Jobs: any allowed Celery task on a schedule."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpRequest
from django_celery_beat.models import PeriodicTask
from ninja import Body, Field, Query, Router, Schema
from ninja import Status as Answer

from notifications.api.authentication import MANAGE, READ, is_test, refuse_live
from notifications.api.contract import refuses
from notifications.api.fields import Number, Text, one_of
from notifications.api.job_documents import definition_of
from notifications.api.pagination import Page, Paging, cut
from notifications.api.problems import Problem
from notifications.routing import SEND_TASK
from scheduling import jobs
from scheduling.models import Fire, FireStatus, Schedule

router = Router()

Definition = Annotated[dict[str, Any], Body(...)]
Count = Annotated[int, Query(5, ge=1, le=100)]


class JobOut(Schema):
    """A job as it stands. `definition` is what would make it again."""

    id: int
    name: str
    enabled: bool
    definition: dict[str, Any]
    next_fire_at: datetime | None
    last_run_at: datetime | None
    total_run_count: int
    quarantine_reason: str = Field(description="Why it does not fire, if it is broken.")


class FireOut(Schema):
    """One due time of a job, and what became of it."""

    id: UUID
    scheduled_for: datetime
    status: str = Field(json_schema_extra=one_of(tuple(FireStatus.values)))
    by_hand: bool
    attempt: int
    dispatched_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: str
    error: str


class Run(Schema):
    """The fire that a run by hand made."""

    fire: UUID


class NextFires(Schema):
    """The next moments at which it fires; none while it is paused."""

    next: list[datetime]


class JobFilters(Paging):
    """Which jobs."""

    name: Text = Field("", max_length=200, description="A part of its name.")


@router.get("/schema", auth=READ, response=dict[str, Any], summary="JSON Schema of a job")
def get_job_schema(request: HttpRequest) -> dict[str, Any]:
    """Give the JSON Schema of a definition, with the handlers that are allowed."""
    return jobs.schema()


@router.get("", auth=READ, response=Page[JobOut], summary="List jobs, newest first")
def list_jobs(request: HttpRequest, filters: Query[JobFilters]) -> dict[str, Any]:
    """List jobs, also those that people made in admin."""
    rows = PeriodicTask.objects.select_related("crontab", "interval", "clocked", "solar")
    if filters.name:
        rows = rows.filter(name__contains=filters.name)
    page, cursor = cut(rows, filters, int)
    return {"items": [_document(task) for task in page], "next_cursor": cursor}


@router.post(
    "",
    auth=MANAGE,
    response={201: JobOut},
    openapi_extra=refuses(409, body="JobDefinition"),
    summary="Create a job",
)
def create_job(request: HttpRequest, payload: Definition) -> Answer[JobOut]:
    """Create a job; 409 if the name is taken. Its handler has to be on the allow-list."""
    with transaction.atomic():
        if PeriodicTask.objects.filter(name=str(payload.get("name"))).exists():
            raise Problem("conflict", f"There is a job {payload['name']!r}.", field="name")
        task = _define(request, payload)
    return Answer(201, _document(task))


@router.get("/{int:id}", auth=READ, response=JobOut, summary="Look at a job")
def get_job(request: HttpRequest, id: Number) -> JobOut:  # noqa: A002 -- the path's own name
    """Give a job."""
    return _document(_find(id))


@router.patch(
    "/{int:id}",
    auth=MANAGE,
    response=JobOut,
    openapi_extra=refuses(409, body="JobChange"),
    summary="Change a job",
)
def change_job(request: HttpRequest, id: Number, payload: Definition) -> JobOut:  # noqa: A002 -- as above
    """Change what the body names of a job; `null` takes a key back to its default."""
    with transaction.atomic():
        task = _find(id)
        if payload.get("name", task.name) != task.name:
            raise Problem("conflict", "A job keeps its name.", field="name")
        changed = {**definition_of(task), **payload}
        return _document(_define(request, {k: v for k, v in changed.items() if v is not None}))


@router.delete("/{int:id}", auth=MANAGE, response={204: None}, summary="Delete a job")
def delete_job(request: HttpRequest, id: Number) -> Answer[None]:  # noqa: A002 -- as above
    """Delete a job with its fires."""
    jobs.remove(_find(id).name)
    return Answer(204, None)


@router.post("/{int:id}/pause", auth=MANAGE, response=JobOut, summary="Let a job rest")
def pause_job(request: HttpRequest, id: Number) -> JobOut:  # noqa: A002 -- as above
    """Let a job rest until it is resumed."""
    jobs.pause(_find(id).name)
    return _document(_find(id))


@router.post("/{int:id}/resume", auth=MANAGE, response=JobOut, summary="Let a job go on")
def resume_job(request: HttpRequest, id: Number) -> JobOut:  # noqa: A002 -- as above
    """Let a job go on; its policy says what becomes of the pause."""
    task = _find(id)
    refuse_live(request, test=_is_test(definition_of(task)))
    jobs.resume(task.name)
    return _document(_find(id))


@router.post("/{int:id}/run", auth=MANAGE, response={202: Run}, summary="Run a job now")
def run_job(request: HttpRequest, id: Number) -> Answer[Run]:  # noqa: A002 -- as above
    """Fire a job once, now, paused or not."""
    task = _find(id)
    refuse_live(request, test=_is_test(definition_of(task)))
    return Answer(202, Run(fire=jobs.run_now(task.name)))


@router.get("/{int:id}/next", auth=READ, response=NextFires, summary="When it fires next")
def list_next_fires(
    request: HttpRequest,
    id: Number,  # noqa: A002 -- as above
    count: Count = 5,
) -> NextFires:
    """Give the next moments at which a job fires."""
    return NextFires(next=jobs.next_fires(_find(id).name, count))


@router.get("/{int:id}/fires", auth=READ, response=Page[FireOut], summary="Its fires so far")
def list_fires(request: HttpRequest, id: Number, paging: Query[Paging]) -> dict[str, Any]:  # noqa: A002 -- as above
    """List what became of each due time, newest first."""
    page, cursor = cut(Fire.objects.filter(schedule=_find(id).pk), paging, UUID)
    return {"items": page, "next_cursor": cursor}


def _define(request: HttpRequest, definition: dict[str, Any]) -> PeriodicTask:
    if is_test(request) and isinstance(definition.get("kwargs"), dict):
        definition = {**definition, "kwargs": {**definition["kwargs"], "test": True}}
    refuse_live(request, test=_is_test(definition))
    try:
        return jobs.define(definition)
    except jobs.HandlerNotAllowedError as error:
        raise Problem("handler-not-allowed", str(error), field="handler") from None
    except (jobs.InvalidJobError, ImproperlyConfigured) as error:  # solar needs ephem
        raise Problem("invalid-job", str(error), hint="See GET /api/v1/jobs/schema.") from None


def _is_test(definition: dict[str, Any]) -> bool:
    """Tell whether a job only ever sends to the simulator."""
    kwargs = definition.get("kwargs")
    sends = definition.get("handler") == SEND_TASK
    return sends and isinstance(kwargs, dict) and kwargs.get("test") is True


def _find(id_: int) -> PeriodicTask:
    task = PeriodicTask.objects.filter(pk=id_).first()
    if task is None:
        raise Problem("not-found", f"There is no job {id_}.")
    return task


def _document(task: PeriodicTask) -> JobOut:
    state = Schedule.objects.filter(pk=task.pk).first()
    return JobOut(
        id=task.pk,
        name=task.name,
        enabled=task.enabled,
        definition=definition_of(task),
        next_fire_at=state.next_fire_at if state else None,
        last_run_at=task.last_run_at,
        total_run_count=task.total_run_count,
        quarantine_reason=state.quarantine_reason if state else "",
    )
