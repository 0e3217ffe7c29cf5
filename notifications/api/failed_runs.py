"""Failed runs: jobs that failed for good, by cause, replayed or discarded, one or many."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django_celery_beat.models import PeriodicTask
from ninja import Field, Query, Router, Schema
from ninja import Status as Answer

from notifications.api.access import permit_job
from notifications.api.authentication import world_of
from notifications.api.contract import refuses
from notifications.api.fields import Input, Text, one_of
from notifications.api.job_documents import name_in, read_definition
from notifications.api.pagination import Page, Paging, cut
from notifications.api.problems import Problem
from scheduling import failures, run_errors
from scheduling.models import Fire
from scheduling.terms import FAILURES

router = Router()


class FailedRunOut(Schema):
    """A fire of a job that failed for good, or whose outcome is unknown."""

    id: UUID
    job: int
    name: str = Field(description="The job's name.")
    handler: str
    scheduled_for: datetime
    status: str = Field(json_schema_extra=one_of(tuple(map(str, FAILURES))))
    attempt: int
    error: str
    cause: str = Field(description="The same for errors that differ only in ids and numbers.")
    finished_at: datetime | None
    resolved_at: datetime | None
    resolution: str
    replayed_as: UUID | None = Field(description="The fire that ran it again.")

    @staticmethod
    def resolve_job(fire: Fire) -> int:
        """Return the id; the other row is not read for it."""
        return int(fire.schedule_id)

    @staticmethod
    def resolve_name(fire: Fire) -> str:
        """Return the name of the fire's job."""
        return name_in(fire.schedule.namespace, fire.schedule.periodic_task.name)

    @staticmethod
    def resolve_handler(fire: Fire) -> str:
        """Return the task of the fire's job."""
        return str(fire.schedule.periodic_task.task)


class RunAttempt(Schema):
    """One attempt that failed."""

    attempt: int
    started_at: datetime | None
    ended_at: datetime
    worker: str
    error: str


class FailedRunDetail(FailedRunOut):
    """A failed run with its attempts, oldest first; the last 20."""

    history: list[RunAttempt]

    @staticmethod
    def resolve_history(fire: Fire) -> list[dict[str, Any]]:
        """Return the attempts; one that could not even be published has none."""
        return fire.history or []


class RunCause(Schema):
    """The open failed runs of one cause; `error` and `name` are the newest one's."""

    cause: str
    count: int
    jobs: int
    first_at: datetime
    last_at: datetime
    name: str
    error: str


class RunReplayed(Schema):
    """The fire that runs it again."""

    fire: UUID


class RunsReplayIn(Input):
    """Which to replay."""

    cause: Text = Field(min_length=1, max_length=32)


class RunsReplayed(Schema):
    """The fires that run them again."""

    fires: list[UUID]


class RunDiscardIn(Input):
    """Why it need not run any more."""

    reason: Text = Field(min_length=1, max_length=255)


class FailedRunFilters(Paging):
    """Which open failed runs."""

    cause: Text = Field("", max_length=32)
    job: int | None = Field(None, ge=1, le=2**31 - 1)


@router.get("", response=Page[FailedRunOut], summary="List the open ones, newest first")
def list_failed_runs(request: HttpRequest, filters: Query[FailedRunFilters]) -> dict[str, Any]:
    """List the failed runs that nobody has replayed or discarded."""
    namespace = world_of(request).namespace
    rows = failures.open_ones(filters.cause, namespace).select_related("schedule__periodic_task")
    if filters.job is not None:
        rows = rows.filter(schedule=filters.job)
    page, cursor = cut(rows, filters, UUID)
    return {"items": page, "next_cursor": cursor}


@router.get("/causes", response=list[RunCause], summary="By cause, the biggest first")
def list_failed_run_causes(request: HttpRequest) -> list[RunCause]:
    """Group the open failed runs by cause; the 50 biggest."""
    namespace = world_of(request).namespace
    return [
        RunCause(
            cause=cause.cause,
            count=cause.count,
            jobs=cause.schedules,
            first_at=cause.first_at,
            last_at=cause.last_at,
            name=name_in(namespace, cause.example.schedule.periodic_task.name),
            error=cause.example.error,
        )
        for cause in failures.causes(namespace=namespace)
    ]


@router.post("/replays", response={202: RunsReplayed}, summary="Replay many")
def replay_failed_runs(request: HttpRequest, payload: RunsReplayIn) -> Answer[RunsReplayed]:
    """Run the jobs of a cause again, 1000 failed runs at most; misfire policies say how often."""
    namespace = world_of(request).namespace
    runs = failures.open_ones(payload.cause, namespace)
    for task in PeriodicTask.objects.filter(pk__in=runs.values("schedule")):
        _permit(request, task)
    made = failures.replay_cause(payload.cause, namespace)
    return Answer(202, RunsReplayed(fires=[fire.pk for fire in made]))


@router.get("/{uuid:id}", response=FailedRunDetail, summary="Get one")
def get_failed_run(request: HttpRequest, id: UUID) -> Fire:  # noqa: A002 -- the path's own name
    """Return a failed run with its attempts, also one that was seen to."""
    return _find(request, id)


@router.post(
    "/{uuid:id}/replay",
    response={202: RunReplayed},
    openapi_extra=refuses(409),
    summary="Run again",
)
def replay_failed_run(request: HttpRequest, id: UUID) -> Answer[RunReplayed]:  # noqa: A002 -- as above
    """Run the job again as it stands now; 409 when the failed run was seen to before."""
    _permit(request, _find(request, id).schedule.periodic_task)
    try:
        return Answer(202, RunReplayed(fire=failures.replay(id).pk))
    except run_errors.NotOpen as error:
        raise Problem("conflict", str(error)) from None


@router.post(
    "/{uuid:id}/discard",
    response=FailedRunOut,
    openapi_extra=refuses(409),
    summary="Discard one",
)
def discard_failed_run(request: HttpRequest, id: UUID, payload: RunDiscardIn) -> Fire:  # noqa: A002 -- as above
    """Close it for good; 409 when it was seen to before."""
    _find(request, id)
    if not failures.discard(Fire.objects.filter(pk=id), why=payload.reason):
        raise Problem("conflict", "It was replayed or discarded before.")
    return _find(request, id)


def _permit(request: HttpRequest, task: PeriodicTask) -> None:
    """Let a key run a job again. Raises ``Problem``: 403, 409 for one that cannot be read."""
    permit_job(request, read_definition(task))


def _find(request: HttpRequest, id_: UUID) -> Fire:
    fires = Fire.objects.filter(
        status__in=FAILURES, schedule__namespace=world_of(request).namespace
    ).select_related("schedule__periodic_task")
    fire = fires.filter(pk=id_).first()
    if fire is None:
        raise Problem("not-found", f"There is no failed run {id_}.")
    return fire
