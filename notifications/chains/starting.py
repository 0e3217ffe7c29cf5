"""Starting a chain: its run and all of its steps are written in one transaction, or nothing.

Each step is a notification with its own due time. What becomes of it is decided when a worker
claims it (``delivery.chain_steps``).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple, TypedDict, Unpack
from uuid import UUID

from django.db import transaction

from notifications.chains import definitions
from notifications.chains.story import NO_ADDRESS
from notifications.core.chains import StopOn
from notifications.core.errors import (
    IdempotencyConflict,
    InvalidChain,
    InvalidField,
    InvalidNotification,
    UnknownArgument,
    UnknownChannel,
    UnknownRecipient,
)
from notifications.core.reasons import Reason
from notifications.core.text import can_be_kept, shown
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.db import clock
from notifications.db.bulk_insert import Table
from notifications.delivery import chain_steps
from notifications.models import Chain, ChainRun, Notification, new_id
from notifications.models.recipient import ADDRESSED
from notifications.recipients import directory, lookup
from notifications.submission import acceptance, projects, requests, times
from notifications.submission.building import Answer, Asked
from notifications.submission.fields import Guarantee, Priority, Request
from notifications.transitions import waiting
from scheduling import watch

LONGEST_KEY = 255

_RUNS = Table(ChainRun)


class ChainFields(TypedDict, total=False):
    """What a chain is started with; every step gets it, but for what it says itself."""

    to: Mapping[str, str] | None
    """``{"recipient": "customer-17"}``: a stored recipient, who has an address per channel."""
    recipients: Mapping[str, str] | None
    """Addresses by channel, in place of the stored ones."""
    context: Mapping[str, Any] | None
    """The variables of all templates."""
    locale: str
    priority: Priority
    guarantee: Guarantee
    idempotency_key: str
    """A second start with the same key gives the first run back."""
    reference: str
    metadata: Mapping[str, Any] | None
    retry: Mapping[str, Any] | None
    category: str
    eta: datetime | str | None
    """When the first step is sent."""
    countdown: float | None
    """Seconds until the first step is sent."""
    expires: datetime | str | float | None
    """The time, or the seconds from now, after which no step is sent."""
    callback_url: str
    """A URL that gets a signed POST with the final status of each step."""
    test: bool
    project: str


_FIELDS = frozenset(ChainFields.__annotations__)
_OF_THE_RUN = frozenset({"to", "recipients", "idempotency_key", "eta", "countdown", "expires"})
_OF_A_STEP = ("subject", "body", "priority", "options", "from_email", "account")
_NEVER_COMPARED = frozenset({"idempotency_key", "eta", "countdown", "expires", "callback_url"})


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was accepted: ``created`` is false where it was there already.

    ``notifications`` are the ids of its steps in their order, on push one for each device.
    ``skipped`` names the steps for which the recipient has no address.
    """

    run: ChainRun
    created: bool
    notifications: list[UUID] = field(default_factory=list)

    @property
    def id(self) -> UUID:
        """Return the run's id."""
        return self.run.pk

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """Return the steps that have no address."""
        return list(self.run.skipped)


class _Step(NamedTuple):
    number: int  # from 1, among all of the chain
    fields: dict[str, Any]
    due_at: datetime


def send_chain(chain: str | Mapping[str, Any], **given: Unpack[ChainFields]) -> Started:
    """Start a chain, by its name or given as data: on return all of its steps are committed rows.

    Inside a transaction of the caller's they are a part of it. Raises a subclass of
    ``InvalidNotification``, which names the field: that of a step as ``steps.0.template``.
    """
    fields: dict[str, Any] = dict(given)
    if unknown := fields.keys() - _FIELDS:
        name = min(unknown)
        raise UnknownArgument(
            f"send_chain has no field {shown(name)}.",
            field=name,
            hint=f"Known fields: {', '.join(sorted(_FIELDS))}.",
        )
    test = fields.get("test", False)
    if not isinstance(test, bool):
        raise InvalidField("test must be true or false.", field="test")
    world = World(projects.check(fields.get("project", DEFAULT_PROJECT)), test)
    key = fields.get("idempotency_key", "")
    if not isinstance(key, str) or len(key) > LONGEST_KEY or not can_be_kept(key):
        raise InvalidField(
            f"A key must be text of at most {LONGEST_KEY} characters.", field="idempotency_key"
        )
    return watch.past_brief(lambda: _start(chain, fields, world, key))


def cancel_chain(run: UUID | str) -> int:
    """Cancel the steps of a run that no worker has yet; return how many.

    Raises ``ChainRun.DoesNotExist``.
    """
    run_id = ChainRun.objects.values_list("pk", flat=True).get(pk=run)
    steps = Notification.objects.filter(chain_run=run_id)
    return watch.past_brief(lambda: waiting.cancel(steps, Reason.CANCELLED, clock.now()))


def _start(
    given: str | Mapping[str, Any], fields: dict[str, Any], world: World, key: str
) -> Started:
    digest = _digest(given, fields)
    if key and (first := _first(world, key, digest)) is not None:
        return first
    chain = _chain(given, world)
    now = clock.now()
    steps, skipped = _steps(chain, fields, world, now)
    run = ChainRun(
        **world.columns,
        id=new_id(),
        chain=chain.name,
        stop_on=chain.stop_on,
        waits=[float(step.get("wait") or 0) for step in chain.steps],
        skipped=skipped,
        recipient_key=_recipient_key(fields),
        idempotency_key=key,
        content_hash=digest,
        created_at=now,
    )
    with transaction.atomic():
        if not _RUNS.insert([_row(run)], skip_taken=True):
            found = _first(world, key, digest)
            assert found is not None  # noqa: S101 -- its key was taken, so it is there
            return found
        ids = _accept(steps, run, now)
    return Started(run, created=True, notifications=ids)


def _accept(steps: list[_Step], run: ChainRun, now: datetime) -> list[UUID]:
    """Write the steps. Raises what is wrong with the first that cannot be accepted."""
    asked = [Asked(step.fields, chain_run=run.pk, chain_step=step.number) for step in steps]
    answers = acceptance.accept_many(asked)
    ids: list[UUID] = []
    for step, answer in zip(steps, answers, strict=True):
        if answer.error is not None:
            raise _in_step(answer.error, step.number)
        assert answer.id is not None  # noqa: S101 -- else it has an error
        ids += sorted([answer.id, *(row["id"] for row in answer.copies)])
    _keep_waits(answers, run)
    if any(answer.row["finished_at"] for answer in answers):  # suppressed, say
        chain_steps.follow([run.pk], now)
    return ids


def _keep_waits(answers: Sequence[Answer], run: ChainRun) -> None:
    """Have each step due by its wait after the one before where a delivery window has moved any.

    A step that comes to lie outside of its own window waits for that when it is due.
    """
    open_ = [
        [row for row in (answer.row, *answer.copies) if not row["finished_at"]]
        for answer in answers
    ]
    if all(row["reason"] != Reason.WINDOW_CLOSED for rows in open_ for row in rows):
        return
    opens: datetime | None = None
    for rows in filter(None, open_):
        due = max(row["scheduled_at"] for row in rows)
        if opens is not None:
            late = [row["id"] for row in rows if row["scheduled_at"] < opens]
            if late:
                steps = Notification.objects.filter(pk__in=late)
                waiting.reschedule(steps, opens, Reason.CHAIN_WAITS)
            due = max(due, opens)
        opens = due + timedelta(seconds=run.waits[rows[0]["chain_step"] - 1])


def _in_step(error: InvalidNotification, number: int) -> InvalidNotification:
    """Return the error with the step's place before its field."""
    field_ = f"steps.{number - 1}.{error.field}".removesuffix(".")
    return type(error)(error.message, field=field_, hint=error.hint)


def _chain(given: str | Mapping[str, Any], world: World) -> Chain:
    if isinstance(given, str):
        return definitions.get(given, world)
    if not isinstance(given, Mapping):
        raise InvalidField("It must be a chain's name, or an object with steps.", field="chain")
    if unknown := given.keys() - set(definitions.FIELDS):
        raise UnknownArgument(
            f"A chain has no field {shown(min(map(str, unknown)))}.",
            field="chain",
            hint=f"Known fields: {', '.join(definitions.FIELDS)}.",
        )
    chain = Chain(
        **world.columns,
        steps=given.get("steps") or [],
        stop_on=given.get("stop_on", StopOn.DELIVERED.value),
        template=given.get("template", ""),
        expires=given.get("expires"),
    )
    definitions.check_steps(chain)
    return chain


def _steps(
    chain: Chain, fields: dict[str, Any], world: World, now: datetime
) -> tuple[list[_Step], list[dict[str, Any]]]:
    """Make the requests of the steps, and tell which have no address to go to."""
    addresses = _addresses(fields)
    stored = _stored_channels(fields, world)
    timed: dict[str, Any] = {name: fields.get(name) for name in ("eta", "countdown", "expires")}
    start = times.scheduled_at_of(Request("", **timed), now)
    if timed["expires"] is None and chain.expires is not None:
        timed["expires"] = (start or now) + timedelta(seconds=chain.expires)
    expires_at = times.expires_at_of(Request("", **timed), now, start)
    common = {name: value for name, value in fields.items() if name not in _OF_THE_RUN}
    due_at, steps, skipped = start or now, [], []
    for number, step in enumerate(chain.steps, 1):
        recipient = _whom(step, fields, addresses)
        own_to = step.get("to")
        if not recipient.get("recipient") and not own_to and step["channel"] not in stored:
            skipped.append({"step": number, "channel": step["channel"], "reason": NO_ADDRESS})
            continue
        if expires_at is not None and due_at >= expires_at:
            raise InvalidChain(f"Step {number} would be due after the expiry.", field="expires")
        steps.append(
            _Step(number, _request(step, chain, common, recipient, due_at, expires_at, now), due_at)
        )
        due_at += timedelta(seconds=float(step.get("wait") or 0))
    if not steps:
        raise UnknownRecipient(
            "The recipient has no address of any channel of the chain.", field="to.recipient"
        )
    return steps, skipped


def _request(  # noqa: PLR0917 -- all that a step's request is made of
    step: Mapping[str, Any],
    chain: Chain,
    common: Mapping[str, Any],
    recipient: Mapping[str, Any],
    due_at: datetime,
    expires_at: datetime | None,
    now: datetime,
) -> dict[str, Any]:
    own = {name: step[name] for name in _OF_A_STEP if step.get(name)}
    request = {**common, **own, "channel": step["channel"], **recipient, "expires": expires_at}
    if template := definitions.template_of(step, chain):
        request["template"] = template
    if due_at > now:
        request["eta"] = due_at
    return request


def _whom(
    step: Mapping[str, Any], fields: Mapping[str, Any], addresses: Mapping[str, str]
) -> dict[str, Any]:
    """Return to whom a step goes: what it says itself, or what the chain was started with."""
    if step.get("recipient") or step.get("to"):
        return {name: step[name] for name in ("recipient", "to") if step.get(name)}
    recipient: dict[str, Any] = {"to": fields["to"]} if fields.get("to") else {}
    if address := addresses.get(step["channel"]):
        return {**recipient, "recipient": address}
    if not recipient:
        raise InvalidField(
            f"There is no address of the channel {step['channel']}.",
            field=f"recipients.{step['channel']}",
            hint="Give one, or name a stored recipient by to.",
        )
    return recipient


def _addresses(fields: Mapping[str, Any]) -> Mapping[str, str]:
    given = fields.get("recipients")
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidField("It must be an object of addresses by channel.", field="recipients")
    for channel, address in given.items():
        if channel not in ADDRESSED:
            raise UnknownChannel(
                f"There is no channel {shown(channel)}.", field="recipients", hint=""
            )
        if not isinstance(address, str) or not address:
            raise InvalidField("It must be an address.", field=f"recipients.{channel}")
    return given


def _recipient_key(fields: Mapping[str, Any]) -> str:
    to = fields.get("to")
    return "" if to is None else requests.named_recipient(to)


def _stored_channels(fields: Mapping[str, Any], world: World) -> frozenset[str]:
    """Return the channels of which the stored recipient has an address.

    Raises ``UnknownRecipient``.
    """
    key = _recipient_key(fields)
    if not key:
        return frozenset()
    person = lookup.find([(world, key)]).get((world, key))
    if person is None:
        raise directory.unknown(key, field="to.recipient")
    return frozenset(channel for channel, some in person.addresses.items() if some)


def _digest(given: str | Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """Return a hash that two starts share if they ask for the same thing."""
    compared = {name: value for name, value in fields.items() if name not in _NEVER_COMPARED}
    text = json.dumps([given, compared], sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _first(world: World, key: str, digest: str) -> Started | None:
    """Return the run that has used this key. Raises ``IdempotencyConflict``."""
    run = ChainRun.objects.filter(**world.columns, idempotency_key=key).first() if key else None
    if run is None:
        return None
    if run.content_hash != digest:
        raise IdempotencyConflict(
            "This idempotency key was used before, for another chain.",
            field="idempotency_key",
            hint="Use a new idempotency key for a new run.",
        )
    rows = Notification.objects.filter(chain_run=run.pk).order_by("chain_step", "id")
    return Started(run, created=False, notifications=list(rows.values_list("pk", flat=True)))


def _row(run: ChainRun) -> dict[str, Any]:
    return {column.attname: getattr(run, column.attname) for column in run._meta.concrete_fields}
