"""Chains: one way after the other until a message reaches; and what became of each run."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Router, Schema
from ninja import Status as Answer
from pydantic import ConfigDict

from notifications.api.authentication import mine, world_of
from notifications.api.contract import refuses
from notifications.api.fields import (
    BY_CHANNEL,
    PRIORITY,
    TIME,
    IdempotencyKey,
    Input,
    Name,
    Whole,
    named,
    one_of,
)
from notifications.api.json_schemas import EMPTY, Json, both, given, lacking, number, some_of, text
from notifications.api.notification_bodies import ToIn
from notifications.api.problems import Problem
from notifications.chains import cancel_chain, definitions, send_chain, story
from notifications.core.chains import StopOn
from notifications.core.retry import Guarantee
from notifications.models import Chain, ChainRun
from notifications.models.chain import CHAIN_NAME, LONGEST_CHAIN_NAME, LONGEST_FAMILY
from notifications.models.recipient import ADDRESSED
from notifications.submission.fields import TEXTS

router = Router()
run_router = Router()

CHAIN = named(CHAIN_NAME, LONGEST_CHAIN_NAME)
_TEMPLATE: Json = both(given("template"), lacking("body", "subject"))
_TEXT: Json = both(given("body"), lacking("template"))
WHAT_GOES = some_of(_TEMPLATE, _TEXT, lacking("template", "body", "subject"))
"""Documents that a step has a template, or a text, or what the chain's family has for it."""
HAS_ALL = some_of(
    given("template"),
    {"properties": {"template": EMPTY, "steps": {"items": {"anyOf": [_TEMPLATE, _TEXT]}}}},
)
"""Documents that without a family each step has a template or a text of its own."""


class StepIn(Input):
    """One step: a way, what goes by it, and how long to wait until the next."""

    model_config = ConfigDict(json_schema_extra=WHAT_GOES)

    channel: str = Field(json_schema_extra=one_of(ADDRESSED))
    wait: float | None = Field(
        None,
        json_schema_extra=number(definitions.SHORTEST_WAIT, definitions.LONGEST_WAIT),
        description="Seconds from this step to the next. Required for every step but the last.",
    )
    template: str = Field(
        "", description="Instead of the template of the chain's family.", json_schema_extra=text()
    )
    subject: str = Field("", json_schema_extra=text())
    body: str = Field(
        "", description="The text, if there is no template.", json_schema_extra=text()
    )
    priority: str = Field("", json_schema_extra=one_of(("", *PRIORITY["enum"])))
    options: dict[str, Any] | None = None
    recipient: str = Field(
        "",
        description="An address for this step, instead of the recipient's.",
        json_schema_extra=text(),
    )
    to: ToIn | None = Field(None, description="A stored recipient for this step.")
    from_email: str = Field(
        "", description="The sender of a step by email: one that an account allows."
    )
    account: str = Field(
        "",
        description="The name of the provider account that alone may send this step.",
        json_schema_extra=text(TEXTS["account"]),
    )


class ChainBody(Input):
    """What a chain does."""

    model_config = ConfigDict(json_schema_extra=HAS_ALL)

    steps: list[StepIn] = Field(
        description=f"In their order, at most {definitions.MOST_STEPS}.",
        json_schema_extra={"minItems": 1, "maxItems": definitions.MOST_STEPS},
    )
    stop_on: str = Field(
        StopOn.DELIVERED.value,
        json_schema_extra=one_of(tuple(StopOn)),
        description="How far a step must get so that no further step is sent.",
    )
    template: str = Field(
        "",
        description="The first part of the templates' names: a step without a template uses "
        "`FAMILY.CHANNEL`, like `one-time-code.sms`.",
        json_schema_extra=text(LONGEST_FAMILY),
    )
    expires: Whole | None = Field(
        None,
        description="Seconds from the start after which no step is sent.",
        json_schema_extra=number(1, definitions.LONGEST_CHAIN),
    )


class ChainIn(ChainBody):
    """A chain under a name."""

    name: str = Field(
        description="Your name for it, like `one-time-code`.",
        json_schema_extra=CHAIN,
    )


class ChainOut(Schema):
    """A chain as it stands."""

    name: str
    steps: list[dict[str, Any]]
    stop_on: str
    template: str
    expires: int | None
    created_at: datetime


class ChainRunIn(Input):
    """What a chain is started with; every step gets it, but for what it says itself."""

    chain: Annotated[str, Field(json_schema_extra=CHAIN)] | ChainBody = Field(
        description="Its name, or a chain as data."
    )
    to: ToIn | None = Field(None, description="A stored recipient, with an address per channel.")
    recipients: dict[str, str] | None = Field(
        None,
        description="Addresses by channel, in place of the stored ones.",
        json_schema_extra=BY_CHANNEL,
    )
    context: dict[str, Any] | None = Field(None, description="The variables of all templates.")
    locale: str = ""
    priority: str = Field("medium", json_schema_extra=PRIORITY)
    guarantee: str = Field(
        Guarantee.AT_LEAST_ONCE.value, json_schema_extra=one_of(tuple(Guarantee))
    )
    idempotency_key: str = Field("", description="The same key and content return the first run.")
    reference: str = ""
    metadata: dict[str, Any] | None = None
    retry: dict[str, Any] | None = None
    category: str = ""
    eta: str | None = Field(
        None, json_schema_extra=TIME, description="When the first step is sent."
    )
    countdown: float | None = Field(None, description="Seconds from now, instead of `eta`.")
    expires: str | float | None = Field(
        None,
        description="A time, or seconds from now, after which no step is sent.",
        json_schema_extra=TIME,
    )
    callback_url: str = Field(
        "", description="A URL that gets a signed POST with the final status of each step."
    )
    test: bool = False


class StepOut(Schema):
    """One notification of a run; a step to several devices has one for each."""

    step: int = Field(description="Its number, from 1.")
    channel: str
    notification: UUID
    status: str
    reason: str = Field(description="`chain_reached`: another step has reached the recipient.")
    due_at: datetime | None
    sent_at: datetime | None
    read_at: datetime | None
    reached: bool


class ChainRunOut(Schema):
    """A run as it stands."""

    id: UUID
    chain: str
    stop_on: str
    state: str = Field(
        json_schema_extra=one_of(("running", "reached", "unreached")),
        description="Whether a step has reached the recipient, or still may.",
    )
    to: dict[str, str] | None
    steps: list[StepOut]
    skipped: list[dict[str, Any]] = Field(
        description="Steps for which the recipient has no address: `step`, `channel`, `reason`."
    )
    created_at: datetime
    url: str


@router.get("", response=list[ChainOut], summary="List all")
def list_chains(request: HttpRequest) -> list[Chain]:
    """List the chains."""
    return list(mine(Chain.objects.all(), request))


@router.post("", response={201: ChainOut, 200: ChainOut}, summary="Save one")
def save_chain(request: HttpRequest, payload: ChainIn) -> Answer[Chain]:
    """Save a chain: 201 for a new name, 200 for one that replaces it.

    Runs that have begun keep their steps.
    """
    given = payload.model_dump(exclude={"steps"})
    steps = [step.model_dump(exclude_unset=True) for step in payload.steps]
    chain = Chain(**world_of(request).columns, **given, steps=steps)
    return Answer(201 if definitions.save(chain) else 200, chain)


@router.delete("/{name}", response={204: None}, summary="Delete one")
def delete_chain(request: HttpRequest, name: Name) -> Answer[None]:
    """Delete a chain. Runs that have begun go on."""
    if not mine(Chain.objects.all(), request).filter(name=name).delete()[0]:
        raise Problem("not-found", f"There is no chain {name}.")
    return Answer(204, None)


@run_router.post(
    "",
    response={201: ChainRunOut, 200: ChainRunOut},
    openapi_extra=refuses(409),
    summary="Start one",
)
def start_chain(
    request: HttpRequest, payload: ChainRunIn, idempotency_key: IdempotencyKey = ""
) -> Answer[dict[str, Any]]:
    """Start a chain: once this answers, all of its steps are stored, each with its due time.

    The same idempotency key with the same content answers 200 with the first run; with another
    content 409.
    """
    fields = payload.model_dump(exclude_unset=True)
    given = fields.pop("chain")
    if idempotency_key:
        if fields.get("idempotency_key") not in (None, "", idempotency_key):
            raise Problem(
                "invalid-request",
                "The header and the body name different idempotency keys.",
                field="idempotency_key",
            )
        fields["idempotency_key"] = idempotency_key
    world = world_of(request)
    fields["project"] = world.project
    if world.test:
        fields["test"] = True
    started = send_chain(given, **fields)
    return Answer(201 if started.created else 200, _document(started.run))


@run_router.get("/{id}", response=ChainRunOut, summary="Get one")
def get_chain_run(request: HttpRequest, id: UUID) -> dict[str, Any]:  # noqa: A002 -- the path's own name
    """Return a run with what became of each step."""
    return _document(_find(request, id))


@run_router.post("/{id}/cancel", response=ChainRunOut, summary="Call off")
def cancel_chain_run(request: HttpRequest, id: UUID) -> dict[str, Any]:  # noqa: A002 -- as above
    """Cancel the steps that no worker has yet."""
    run = _find(request, id)
    cancel_chain(run.pk)
    return _document(run)


def _find(request: HttpRequest, id_: UUID) -> ChainRun:
    run = mine(ChainRun.objects.all(), request).filter(pk=id_).first()
    if run is None:
        raise Problem("not-found", f"There is no run {id_}.")
    return run


def _document(run: ChainRun) -> dict[str, Any]:
    run_story = story.of(run)
    return {
        "id": run.pk,
        "chain": run.chain,
        "stop_on": run.stop_on,
        "state": run_story.state,
        "to": {"recipient": run.recipient_key} if run.recipient_key else None,
        "steps": [
            {
                "step": step.part.step,
                "channel": step.channel,
                "notification": step.part.key,
                "status": step.part.status,
                "reason": step.part.reason,
                "due_at": step.part.due_at,
                "sent_at": step.part.sent_at,
                "read_at": step.part.read_at,
                "reached": step.reached,
            }
            for step in run_story.steps
        ],
        "skipped": run.skipped,
        "created_at": run.created_at,
        "url": f"/api/v1/chain-runs/{run.pk}",
    }
