"""Requests become rows: read, checked, built, and finished where nobody must be written to.

Nothing is written to the database. One request's fault is its own: it becomes its answer's error.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import structlog

from notifications.channels.mail import KeptMail, Mail
from notifications.core.digests import ITS_CONTEXT
from notifications.core.errors import FaultyRow, InvalidNotification, UnknownProject
from notifications.core.reasons import Reason
from notifications.core.throttles import Rest
from notifications.core.world import World
from notifications.db import clock
from notifications.models import Batch, Status
from notifications.recipients import categories, preferences, suppressions, throttles, windows
from notifications.recipients.categories import Kind
from notifications.recipients.places import NOWHERE, Place
from notifications.recipients.throttles import Limits
from notifications.recipients.windows import Window
from notifications.submission import addressing, digests, insert, requests, throttling
from notifications.submission.digest_fields import ITEMS, Spec
from notifications.submission.digests import Collected, Joining
from notifications.submission.fields import Accepted, Request
from notifications.submission.throttling import Throttled
from notifications.transitions import new
from scheduling import isolation
from templates_engine.models import Category
from templates_engine.rendering import CompiledVersion

log = structlog.get_logger(__name__)

Fields = Mapping[str, Any]
T = TypeVar("T")


class Asked(NamedTuple):
    """One request, its fields, or what gives them; with what only some callers have.

    ``common`` holds fields that many share; the request's own win. ``id`` is the id that its row
    shall have; ``use`` tells one use of that id from another, each of which gets a row. ``version``
    pins another than the published one of its template. A step of a chain names its run.
    ``row_id`` is the id of a row that nobody asks for again: one that is there already is a
    duplicate, whatever it holds.
    """

    given: Request | Fields | Callable[[], Fields]
    common: Fields | None = None
    id: UUID | None = None
    use: str = ""
    continuation: Fields | None = None
    replay_of_id: UUID | None = None
    version: CompiledVersion | None = None
    chain_run: UUID | None = None
    chain_step: int | None = None
    row_id: UUID | None = None


@dataclass(slots=True)
class Answer:
    """What became of one request: the id of its notification, or the error that refused it.

    ``created`` is false where the notification was there already; ``row`` is then what would have
    been written, and empty where no row could be made. ``copies`` are the rows of the recipient's
    other devices, which are written with it.
    """

    id: UUID | None = None
    created: bool = False
    row: insert.Row = field(default_factory=dict)
    error: InvalidNotification | None = None
    copies: list[insert.Row] = field(default_factory=list)


class Call(NamedTuple):
    """What the requests of one call share: the recipients that they name, the time, the batch.

    ``asks_windows`` is false for what goes by another channel because its window opens too late.
    ``began`` is when the call did, as ``time.monotonic`` tells it.
    """

    found: addressing.Found
    now: datetime
    began: float
    batch: Batch | None = None
    asks_windows: bool = True


class Built(NamedTuple):
    """A checked request as a row, with the answer that it will have.

    ``kind`` is its category; ``held_by`` the rule of the recipient's preferences that keeps it
    from being sent, empty if none does. ``collected`` has the digest that it asks for,
    ``throttled`` the throttles that count it.
    """

    row: insert.Row
    answer: Answer
    kind: Kind | None
    is_marketing: bool
    held_by: str
    use: str
    mail: Mail | KeptMail | None = None
    collected: Collected | None = None
    throttled: Throttled | None = None


def try_many(asked: Sequence[Asked]) -> list[Answer]:
    """Return the answers that ``accept_many`` would give, and write nothing.

    A row that would be written is its answer's ``row``. Whether an idempotency key was used before
    is not asked.
    """
    answers = [Answer() for _ in asked]
    hold_back_suppressed(build_all(asked, answers))
    return answers


def build_all(
    asked: Sequence[Asked], answers: Sequence[Answer], batch: Batch | None = None
) -> list[Built]:
    """Build the rows of many: what is wrong with one is its answer's error."""
    known = []
    for single, answer in zip(asked, answers, strict=True):
        if (request := _alone(partial(read, single), answer)) is not None:
            known.append((single, request, answer))
    began = time.monotonic()
    found = addressing.find(request for _, request, _ in known)
    call = Call(found, clock.now(), began, batch)
    return [
        row
        for single, request, answer in known
        if (row := _alone(partial(build, single, request, answer, call), answer))
    ]


def read(asked: Asked) -> Request:
    """Read a request from its fields. Raises what is wrong with them."""
    given = asked.given() if callable(asked.given) else asked.given
    if isinstance(given, Request):
        return given
    if not asked.common:
        return requests.read(given)
    own = {name: value for name, value in given.items() if not (name == "category" and not value)}
    return requests.read({**asked.common, **own})


def build(
    asked: Asked, request: Request, answer: Answer, call: Call, *, is_digest: bool = False
) -> Built:
    """Check a request and make its row. Raises what is wrong with it.

    No throttle counts the notification of a digest.
    """
    accepted, *others = addressing.check(request, call.found, call.now, asked.version)
    if call.batch is not None and accepted.project != call.batch.project:
        raise UnknownProject("All rows of a batch must belong to one project.", field="project")
    answer.row = _row(asked, request, accepted, call)
    version = accepted.template_version
    is_marketing = version is not None and version.category == Category.MARKETING
    world = world_of(answer.row)
    kind = categories.kind_of(accepted.category, world, is_marketing=is_marketing)
    key = accepted.recipient_key
    person = call.found.get((world, key)) if key else None
    held_by = preferences.held_by(kind, accepted.channel, person.choices) if person else ""
    if not held_by:
        copies = [other._replace(idempotency_key="") for other in others]
        answer.copies = [insert.build(c, call.now, **_shared(asked, call)) for c in copies]
    template = version.template_name if version else ""
    place = person.place if person else NOWHERE
    window, plan = None, windows.GO
    if call.asks_windows and accepted.digest is None:  # a digest asks for its own when it is due
        window, plan = _window_of(answer.row, kind, template, place, call)
    if window is not None:
        _wait_for(plan, answer.row)
        for copy in answer.copies:
            _wait_for(_plan_of(window, place, copy), copy)
        other = _by_other_channel(request, window, accepted.scheduled_at)
        if plan.step is windows.Step.CHANNEL and other is not None:
            late = _alone(partial(_build_late, asked, other, answer, call), Answer())
            if late is not None:
                return late
    is_marketing |= kind is not None and kind.name == categories.MARKETING
    collected = None
    if accepted.digest is not None:
        collected = _collected(accepted.digest, request, kind, call)
    throttled = None
    limits = throttles.of(world, kind, accepted.channel)
    if limits and collected is None and not is_digest:
        is_step = asked.chain_run is not None  # which no digest could tell how far it has come
        own_digests = {} if is_step else _digests(limits, request, kind, call)
        throttled = Throttled(limits, place.timezone, answer.row, answer.copies, own_digests)
    return Built(
        *(answer.row, answer, kind, is_marketing, held_by, asked.use, accepted.mail),
        collected,
        throttled,
    )


def _row(asked: Asked, request: Request, accepted: Accepted, call: Call) -> insert.Row:
    """Make the row of a request that was checked."""
    asked_for = None
    is_compared = asked.id is not None or accepted.idempotency_key
    if accepted.recipient_key and is_compared:  # whose addresses may change between two requests
        asked_for = accepted._replace(recipient=request.recipient, locale=request.locale)
    row = insert.build(
        accepted,
        call.now,
        id_=asked.id,
        use=asked.use,
        asked_for=asked_for,
        continuation=dict(asked.continuation) if asked.continuation else None,
        **_shared(asked, call),
    )
    return row if asked.row_id is None else {**row, "id": asked.row_id}


def _shared(asked: Asked, call: Call) -> dict[str, Any]:
    """Return the columns that the rows of one request share, and that are no field of it."""
    return {
        "batch_id": call.batch.pk if call.batch else None,
        "replay_of_id": asked.replay_of_id,
        "chain_run": asked.chain_run,
        "chain_step": asked.chain_step,
    }


def _window_of(
    row: insert.Row, kind: Kind | None, template: str, place: Place, call: Call
) -> tuple[Window | None, windows.Plan]:
    """Return the delivery window of a row, and what it makes of the row, which stays as it is.

    It is read anew where it is closed by what was read before.
    """
    world = world_of(row)
    window = windows.of(world, kind, template)
    plan = _plan_of(window, place, row)
    if plan.step is not windows.Step.GO and windows.renew(world, call.began):
        window = windows.of(world, kind, template)
        plan = _plan_of(window, place, row)
    return window, plan


def _digests(
    limits: Limits, request: Request, kind: Kind | None, call: Call
) -> dict[int, Collected]:
    """Build the digest of each throttle whose rest goes as one.

    What cannot go with a digest (one with a time or attachments of its own, say) waits.
    """
    made = {}
    for limit in limits:
        if limit.rest != Rest.DIGEST:
            continue
        spec = Spec(f"throttle-{limit.id}", 1.0, limit.template, "together", ITEMS)
        try:
            made[limit.id] = _collected(spec, request, kind, call)
        except InvalidNotification as error:
            log.info("throttled_without_digest", field=error.field, error=type(error).__name__)
    return made


def _collected(spec: Spec, request: Request, kind: Kind | None, call: Call) -> Collected:
    """Build the notification of a digest that a request may open. Raises what is wrong with it."""
    own = digests.request_of(request, spec, kind.name if kind else "")
    answer = Answer()
    try:
        shared = call._replace(batch=None, asks_windows=False)
        built = build(Asked(own), own, answer, shared, is_digest=True)
        digests.try_template(answer.row, spec.limit)
    except InvalidNotification as error:
        field = "digest.template" if error.field in ("template", "context") else error.field
        hint = ITS_CONTEXT if error.field == "context" else error.hint
        raise type(error)(error.message, field=field, hint=hint) from None
    return Collected(spec, answer.row, answer.copies, built.kind.name if built.kind else "")


def is_counted(built: Built) -> bool:
    """Return whether what is written of a row depends on the places of a throttle or a digest."""
    return built.throttled is not None or built.collected is not None


def known_repeats(built: Sequence[Built]) -> set[int]:
    """Return the indexes of counted rows whose idempotency key was used before, or by one above.

    What others are writing meanwhile is not known yet.
    """
    used = digests.used_keys(item.row for item in built if is_counted(item))
    repeats = set()
    for index, item in enumerate(built):
        key = digests.key_of(item.row)
        if key is None:
            continue
        if key in used and is_counted(item):
            repeats.add(index)
        used.add(key)
    return repeats


def take_places(built: Sequence[Built], repeats: set[int]) -> None:
    """Count those that a throttle counts, and have those join that go with a digest.

    ``repeats`` are the indexes of rows that were written before, which do neither. In the current
    transaction. Safe to be repeated after a rollback.
    """
    for item in built:
        if item.collected is not None:
            digests.reset(Joining(item.row, item.answer.copies, item.collected))
        if item.throttled is not None:
            throttling.reset(item.throttled)
    new = [item for index, item in enumerate(built) if index not in repeats]
    throttling.apply([item.throttled for item in new if item.throttled is not None])
    collected = [
        (item, item.throttled.collected if item.throttled else item.collected) for item in new
    ]
    digests.join(
        Joining(item.row, item.answer.copies, digest)
        for item, digest in collected
        if digest is not None
    )


def _by_other_channel(request: Request, window: Window, due_at: datetime | None) -> Request | None:
    """Return a request for the channel of what would be late; None if it has no other way."""
    if not request.to or request.channel == window.late_channel or not window.late_channel:
        return None
    return request._replace(
        channel=window.late_channel,
        recipient="",
        template=window.late_template if request.template else "",
        options=None,
        account="",
        mail=request.mail if window.late_channel == "email" else None,
        eta=due_at,
        countdown=None,
        local_time="",
    )


def _build_late(asked: Asked, other: Request, answer: Answer, call: Call) -> Built:
    """Build the row by another channel, in place of the answer's. Raises why it cannot go so.

    It is the same as before to a request that is repeated.
    """
    own, first = Answer(), answer.row
    again = asked._replace(id=first["id"], version=None)
    found = addressing.find([other])
    built = build(again, other, own, call._replace(found=found, asks_windows=False))
    own.row |= {"content_hash": first["content_hash"], "reason": Reason.OTHER_CHANNEL.value}
    answer.row, answer.copies = own.row, own.copies
    return built._replace(answer=answer)


def _wait_for(plan: windows.Plan, row: insert.Row) -> None:
    """Have a row wait for its delivery window, or end it if it would expire before that opens.

    What is to go by another channel has ended unless that one takes it.
    """
    step, opens = plan
    if step is windows.Step.WAIT and opens is not None:
        new.wait(row, opens, Reason.WINDOW_CLOSED)
    elif step is not windows.Step.GO:
        new.end(row, Status.EXPIRED, Reason.WINDOW_CLOSED)


def _plan_of(window: Window | None, place: Place, row: insert.Row) -> windows.Plan:
    """Return what its delivery window makes of a row, which stays as it is."""
    if window is None:
        return windows.GO
    return windows.plan(
        *(window, place, row["chain_run"] or row["id"]),  # a run has one place in the spread
        channel=row["channel"],
        due_at=row["scheduled_at"],
        expires_at=row["expires_at"],
    )


def _alone(make: Callable[[], T], answer: Answer) -> T | None:
    """Make a part of one of many: what it raises is its answer's error, without its traceback."""
    try:
        return make()
    except InvalidNotification as error:
        error.__cause__ = error.__context__ = None
        answer.error = error.with_traceback(None)
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
        answer.error = FaultyRow.of(type(error).__name__)
    return None


def hold_back_suppressed(built: Sequence[Built]) -> None:
    """Finish the rows of those who must not, or do not want to, be written to, saying why."""
    recipients: dict[tuple[World, str], set[str]] = defaultdict(set)
    for item in built:
        recipients[world_of(item.row), item.row["channel"]].add(item.row["recipient"])
    found = {
        (world, channel): suppressions.among(channel, who, world=world)
        for (world, channel), who in recipients.items()
    }
    if not any(found.values()) and not any(item.held_by for item in built):
        return
    for item in built:
        row = item.row
        reason = suppressions.reason_in(
            found[world_of(row), row["channel"]],
            row["recipient"],
            marketing=item.is_marketing,
            required=item.kind is not None and item.kind.required,
        )
        if reason := reason or item.held_by:
            new.end(row, Status.SUPPRESSED, reason)


def world_of(row: insert.Row) -> World:
    """Return the world that a row is of."""
    return World(row["project"], row["test"])


def queue_of(row: insert.Row) -> tuple[str, str]:
    """Return the channel and the priority of a row."""
    return row["channel"], row["priority"]
