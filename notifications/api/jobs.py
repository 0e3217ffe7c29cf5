"""Jobs: any allowed Celery task on a schedule."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django_celery_beat.models import PeriodicTask
from ninja import Body, Field, Query, Router, Schema
from ninja import Status as Answer

from notifications.api.access import permit_job
from notifications.api.authentication import world_of
from notifications.api.contract import refuses
from notifications.api.fields import Input, Moment, Number, Text, one_of
from notifications.api.job_documents import (
    NAMES,
    RESERVED,
    audience_of,
    bare_name,
    definition_of,
    definition_with,
    for_world,
    is_of_project,
    name_in,
    stored,
    unreadable,
    version_of,
)
from notifications.api.pagination import Page, Paging, cut
from notifications.api.problems import Problem
from notifications.core.world import LIVE, World
from scheduling import isolation, job_rows, jobs, preview, watch
from scheduling.isolation import Fault
from scheduling.job_storage import lock, store
from scheduling.models import Fire, FireStatus, Schedule

SEE_SCHEMA = "See GET /api/v1/jobs/schema."

router = Router()

Definition = Annotated[dict[str, Any], Body(...)]
Count = Annotated[int, Query(5, ge=1, le=100)]


class AudienceOfJob(Schema):
    """The audience that a job sends to."""

    name: str
    members: Literal["live"] = Field(
        description="`live`: each fire looks up the members anew. The batch of a fire says "
        "`frozen` as soon as its members are stored.",
    )


class JobOut(Schema):
    """A job as it stands. `definition` is what would make it again."""

    id: int
    name: str
    enabled: bool
    definition: dict[str, Any]
    next_fire_at: datetime | None = Field(
        description="As the schedulers plan it, also before they have seen its last change; null: "
        "it is paused, broken or over."
    )
    last_run_at: datetime | None
    total_run_count: int
    quarantine_reason: str = Field(description="Why it does not fire, if it is broken.")
    audience: AudienceOfJob | None = None


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
    note: str = Field(description="The holiday that left it out or moved it, or the unique key.")


class Run(Schema):
    """The fire that a run by hand made."""

    fire: UUID
    status: str = Field(
        json_schema_extra=one_of(tuple(FireStatus.values)),
        description="`claimed`: it is about to run. While an earlier run goes on, the job's "
        "`overlap` decides: `waiting`, or `skipped_overlap`. `skipped_unique`: its unique key had "
        "a run in its period.",
    )


class BackfillIn(Input):
    """Which past times a job is run for, and how fast."""

    since: Moment
    until: Moment = Field(description="The first moment after the range.")
    pace: float = Field(0, ge=0, le=86_400, description="Seconds from one run to the next.")
    dry_run: bool = Field(default=False, description="Only say what would run.")


class PlannedRun(Schema):
    """A due time of the past, and when it is run."""

    scheduled_for: datetime
    fire_at: datetime


class Backfill(Schema):
    """The due times that had no fire, oldest first."""

    runs: list[PlannedRun]


class NextFires(Schema):
    """The next moments at which it fires; none while it is paused."""

    next: list[datetime]


class JobFilters(Paging):
    """Which jobs."""

    name: Text = Field("", max_length=200, description="A part of its name.")


@router.get("/schema", response=dict[str, Any], summary="JSON Schema of a job")
def get_job_schema(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON Schema of a definition, with the handlers that are allowed."""
    return jobs.schema()


@router.get("", response=Page[JobOut], summary="List jobs, newest first")
def list_jobs(request: HttpRequest, filters: Query[JobFilters]) -> dict[str, Any]:
    """List jobs, also those that people made in admin."""
    world = world_of(request)
    rows = _mine(world)
    if filters.name:
        rows = rows.annotate(bare=bare_name(world)).filter(bare__contains=filters.name)
    page, cursor = cut(rows.only("pk"), filters, int)
    documents = _documents(world, [task.pk for task in page])
    items = [documents[task.pk] for task in page if task.pk in documents]
    return {"items": items, "next_cursor": cursor}


@router.post(
    "",
    response={201: JobOut},
    openapi_extra=refuses(409, body="JobDefinition"),
    summary="Create a job",
)
def create_job(request: HttpRequest, payload: Definition) -> Answer[JobOut]:
    """Create a job; 409 if the name is taken. Its handler has to be on the allow-list."""
    return Answer(201, _document(_define(request, payload, is_new=True)))


@router.get("/{int:id}", response=JobOut, summary="Get a job")
def get_job(request: HttpRequest, response: HttpResponse, id: Number) -> JobOut:  # noqa: A002 -- the path's own name
    """Return a job, with its version as `ETag`: name it as `If-Match` to change no other."""
    document = _document_of(world_of(request), id)
    response["ETag"] = version_of(document.definition)
    return document


@router.patch(
    "/{int:id}",
    response=JobOut,
    openapi_extra=refuses(409, 412, body="JobChange"),
    summary="Change a job",
)
def change_job(
    request: HttpRequest,
    response: HttpResponse,
    id: Number,  # noqa: A002 -- as above
    payload: Definition,
) -> JobOut:
    """Change what the body names of a job, and nothing else; `null` takes a key to its default.

    With `If-Match`, the `ETag` of the job as it was read, one that was changed since is left alone.
    """
    document = watch.past_brief(partial(_changed, request, id, payload))
    response["ETag"] = version_of(document.definition)
    return document


def _changed(request: HttpRequest, id_: int, payload: dict[str, Any]) -> JobOut:
    with transaction.atomic():
        lock(_name_of(request, id_))
        task = _find(request, id_, locks=True)
        current = definition_of(task)
        if payload.get("name", current["name"]) != current["name"]:
            raise Problem("conflict", "A job keeps its name.", field="name")
        expected = request.headers.get("If-Match", "*")
        if expected not in ("*", version_of(current)):
            raise Problem("changed-meanwhile", hint="Read it again, then change it.")
        changed = {k: v for k, v in {**current, **payload}.items() if v is not None}
        return _document(_define(request, changed, previous=current))


@router.delete("/{int:id}", response={204: None}, summary="Delete a job")
def delete_job(request: HttpRequest, id: Number) -> Answer[None]:  # noqa: A002 -- as above
    """Delete a job with its fires."""
    job_rows.remove(_name_of(request, id))
    return Answer(204, None)


@router.post("/{int:id}/pause", response=JobOut, summary="Pause a job")
def pause_job(request: HttpRequest, id: Number) -> JobOut:  # noqa: A002 -- as above
    """Pause a job until it is resumed."""
    job_rows.pause(_name_of(request, id))
    return _document_of(world_of(request), id)


@router.post("/{int:id}/resume", response=JobOut, summary="Resume a job")
def resume_job(request: HttpRequest, id: Number) -> JobOut:  # noqa: A002 -- as above
    """Resume a job; its policy says what becomes of the pause."""
    task = _find(request, id)
    permit_job(request, definition_of(task))
    try:
        job_rows.resume(task.name)
    except jobs.InvalidJob as error:
        raise Problem("invalid-job", str(error), field=error.field) from None
    return _document(_find(request, id))


@router.post("/{int:id}/run", response={202: Run}, summary="Run a job now")
def run_job(request: HttpRequest, id: Number) -> Answer[Run]:  # noqa: A002 -- as above
    """Fire a job once, now, paused or not. Its overlap policy holds, and the answer says so."""
    task = _find(request, id)
    permit_job(request, definition_of(task))
    fire = job_rows.fire_now(task)
    return Answer(202, Run(fire=fire.pk, status=fire.status))


@router.post(
    "/{int:id}/backfill",
    response={200: Backfill, 202: Backfill},
    summary="Run a job for past times",
)
def backfill_job(
    request: HttpRequest,
    id: Number,  # noqa: A002 -- as above
    payload: BackfillIn,
) -> Answer[Backfill]:
    """Run a job for what was due in a range of the past and has no fire; 1,000 due times at most.

    With `dry_run` nothing is run, and the answer (200) says what would be.
    """
    task = _find(request, id)
    permit_job(request, definition_of(task))
    pace = timedelta(seconds=payload.pace)
    try:
        runs = job_rows.backfill(
            task.name, payload.since, payload.until, pace=pace, dry_run=payload.dry_run
        )
    except jobs.InvalidJob as error:
        raise Problem("invalid-job", str(error), field=error.field) from None
    planned = [PlannedRun(scheduled_for=due, fire_at=at) for due, at in runs]
    return Answer(200 if payload.dry_run else 202, Backfill(runs=planned))


@router.get("/{int:id}/next", response=NextFires, summary="When it fires next")
def list_next_fires(
    request: HttpRequest,
    id: Number,  # noqa: A002 -- as above
    count: Count = 5,
) -> NextFires:
    """Return the next moments at which a job fires."""
    return NextFires(next=job_rows.next_fires(_find(request, id).name, count))


@router.get("/{int:id}/fires", response=Page[FireOut], summary="Its fires so far")
def list_fires(request: HttpRequest, id: Number, paging: Query[Paging]) -> dict[str, Any]:  # noqa: A002 -- as above
    """List what became of each due time, newest first."""
    page, cursor = cut(Fire.objects.filter(schedule=_existing(request, id)), paging, UUID)
    return {"items": page, "next_cursor": cursor}


def _define(
    request: HttpRequest,
    definition: dict[str, Any],
    *,
    previous: dict[str, Any] | None = None,
    is_new: bool = False,
) -> PeriodicTask:
    world = world_of(request)
    definition = for_world(definition, world)
    permit_job(request, definition)
    for key in NAMES if world == LIVE else ():
        is_own = previous is not None and previous.get(key) == definition.get(key)
        if not is_own and str(definition.get(key, "")).startswith(RESERVED):
            raise Problem("invalid-job", f"A {key} does not begin with {RESERVED!r}.", field=key)
    kept = stored(world, {"name": "", **definition})
    if previous is not None:
        previous = stored(world, previous)
    try:
        jobs.check(kept)
        return store(kept, previous=previous, is_new=is_new, namespace=world.namespace)
    except jobs.JobExists:
        detail = f"There is a job {definition['name']!r}."
        raise Problem("conflict", detail, field="name") from None
    except jobs.HandlerNotAllowed as error:
        raise Problem("handler-not-allowed", str(error), field="handler") from None
    except jobs.InvalidJob as error:
        hint = "" if isinstance(error, jobs.InvalidArguments) else SEE_SCHEMA
        raise Problem("invalid-job", str(error), field=error.field, hint=hint) from None
    except ImproperlyConfigured as error:  # solar needs ephem
        raise Problem("invalid-job", str(error), field="schedule.solar") from None


def _mine(world: World) -> "QuerySet[PeriodicTask]":
    """Return the jobs of a world. One that its schedulers have not seen yet is the default's."""
    of_project = Q(firing__namespace=world.namespace)
    rows: QuerySet[PeriodicTask] = PeriodicTask.objects.filter(
        of_project | Q(firing=None) if world == LIVE else of_project
    )
    return rows


def _find(request: HttpRequest, id_: int, *, locks: bool = False) -> PeriodicTask:
    """Read a job, and lock it if asked to. Raises ``Problem``."""
    _name_of(request, id_)

    def read(pk: int) -> PeriodicTask:
        rows = PeriodicTask.objects.all()
        task = (rows.select_for_update() if locks else rows).get(pk=pk)
        definition_of(task)
        return task

    found, faults = isolation.each([id_], read, stage="reading a job", key=str)
    if faults:
        raise unreadable()
    return found[0]


def _missing(id_: int) -> Problem:
    return Problem("not-found", f"There is no job {id_}.")


def _existing(request: HttpRequest, id_: int) -> int:
    _name_of(request, id_)
    return id_


def _name_of(request: HttpRequest, id_: int) -> str:
    """Return the name under which a job is kept, also of one that cannot be read."""
    world = world_of(request)
    name = _mine(world).filter(pk=id_).values_list("name", flat=True).first()
    if name is None or id_ not in _documents(world, [id_]):
        raise _missing(id_)
    return str(name)


def _document_of(world: World, id_: int) -> JobOut:
    documents = _documents(world, [id_])
    if id_ not in documents:
        raise _missing(id_)
    return documents[id_]


def _documents(world: World, ids: Sequence[int]) -> dict[int, JobOut]:
    """Return the documents of a world's jobs by id; of one that cannot be read, what can be.

    A send that people or code have scheduled for another project is that project's business.
    """
    documents: dict[int, JobOut] = {}

    def read(part: list[int]) -> None:
        rows = _mine(world).select_related("crontab", "interval", "clocked", "solar")
        documents.update(_documents_of(rows.filter(pk__in=part), part))

    for id_, fault in isolation.halving(ids, read, stage="reading jobs", key=str):
        documents |= _faulty(world, id_, fault)
    return {
        id_: document
        for id_, document in documents.items()
        if is_of_project(document.definition, world)
    }


def _faulty(world: World, id_: int, fault: Fault) -> dict[int, JobOut]:
    row = _mine(world).filter(pk=id_).values("name", "task", "enabled").first()
    if row is None:
        return {}
    reasons = Schedule.objects.filter(pk=id_).values_list("quarantine_reason", flat=True)
    document = JobOut(
        id=id_,
        name=name_in(world.namespace, row["name"]),
        enabled=row["enabled"],
        definition={"name": name_in(world.namespace, row["name"]), "handler": row["task"]},
        next_fire_at=None,
        last_run_at=None,
        total_run_count=0,
        quarantine_reason=reasons.first() or f"Its row cannot be read ({fault.error}).",
    )
    return {id_: document}


def _document(task: PeriodicTask) -> JobOut:
    return _documents_of([task], [task.pk])[task.pk]


def _documents_of(rows: Iterable[PeriodicTask], keys: Sequence[int]) -> dict[int, JobOut]:
    """Return the documents of jobs by id; the number of queries is the same for any number."""
    tasks = list(rows)
    states, changed = Schedule.objects.in_bulk(keys), preview.unseen(keys)
    next_fires = preview.next_fires(tasks, states, changed)
    return {
        task.pk: _document_with(task, states.get(task.pk), next_fires[task.pk]) for task in tasks
    }


def _document_with(
    task: PeriodicTask, state: Schedule | None, next_fire_at: datetime | None
) -> JobOut:
    definition = definition_with(task, state)
    audience = audience_of(definition)
    return JobOut(
        id=task.pk,
        name=definition["name"],
        enabled=task.enabled,
        definition=definition,
        next_fire_at=next_fire_at,
        last_run_at=task.last_run_at,
        total_run_count=task.total_run_count,
        quarantine_reason=state.quarantine_reason if state else "",
        audience=AudienceOfJob(name=audience, members="live") if audience else None,
    )
