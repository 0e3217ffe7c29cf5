"""The one way in, written for N requests; one is the case N = 1.

Check, hold back who must not be written to, build, insert, compare duplicates, count, and publish
on commit. One request's fault is its own: it becomes that request's answer.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID, uuid5

import structlog
from django.db import DatabaseError, DataError, transaction
from django.db.models import Q

from notifications import metrics, tracing
from notifications.channels.mail import KeptMail, Mail
from notifications.core import routing
from notifications.core.errors import (
    FaultyRow,
    IdempotencyConflict,
    InvalidNotification,
    UnknownProject,
)
from notifications.core.world import World
from notifications.db import clock, dialect
from notifications.mails import keeping
from notifications.models import Batch, Notification, Status
from notifications.queueing import eager, publisher, release, release_window
from notifications.recipients import categories, preferences, suppressions
from notifications.recipients.categories import Kind
from notifications.submission import addressing, grouping, insert, requests
from notifications.submission.fields import Request
from scheduling import isolation, watch
from templates_engine.models import Category
from templates_engine.rendering import CompiledVersion

log = structlog.get_logger(__name__)

Fields = Mapping[str, Any]
T = TypeVar("T")


class Asked(NamedTuple):
    """One request, its fields, or what gives them; with what only some callers have.

    ``common`` holds fields that many share; the request's own win. ``id`` is the id that its row
    shall have; ``use`` tells one use of that id from another, each of which gets a row. ``version``
    pins another than the published one of its template.
    """

    given: Request | Fields | Callable[[], Fields]
    common: Fields | None = None
    id: UUID | None = None
    use: str = ""
    continuation: Fields | None = None
    replay_of_id: UUID | None = None
    version: CompiledVersion | None = None


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


class _Call(NamedTuple):
    """What the requests of one call share: the recipients that they name, the time, the batch."""

    found: addressing.Found
    now: datetime
    batch: Batch | None = None


class _Built(NamedTuple):
    """A checked request as a row, with the answer that it will have.

    ``kind`` is its category; ``held_by`` the rule of the recipient's preferences that keeps it
    from being sent, empty if none does.
    """

    row: insert.Row
    answer: Answer
    kind: Kind | None
    is_marketing: bool
    held_by: str
    use: str
    mail: Mail | KeptMail | None = None


@dataclass(slots=True)
class _Single:
    """A request that came by itself; ``goes_at_once`` if a worker will hear of it by its id."""

    built: _Built
    publish: bool
    goes_at_once: bool = False


class _Key(NamedTuple):
    """An idempotency key, and whose it is."""

    project: str
    test: bool
    key: str


class _First(NamedTuple):
    """The hash by which a row that came first is the same request."""

    id: UUID
    idempotency_key: str
    content_hash: str
    project: str
    test: bool


@tracing.submission()
def accept_one(asked: Asked, *, publish: bool = True) -> Answer:
    """Accept one request. Raises what refuses it: a subclass of ``InvalidNotification``.

    What other threads of this process accept meanwhile is written in the same transaction. Its id
    is published on commit where its queue's window has room; else the sweep publishes it.
    ``publish`` is false for a caller that delivers itself.
    """
    answer = Answer()
    with metrics.refusals():
        request = _read(asked)
        call = _Call(addressing.find([request]), clock.now())
        one = _Single(_build(asked, request, answer, call), publish)
        _write_alone(one, may_gather=_may_gather(asked, one.built))
        if answer.error is not None:
            raise answer.error
    if answer.created:
        published = answer.row if publish and one.goes_at_once else None
        created = {_queue_of(answer.row): 1 + len(answer.copies)}
        committed = partial(_committed, created, published)
        transaction.on_commit(committed, robust=published is None or not eager.raises())
        if answer.copies and publish:
            transaction.on_commit(release.publish_now, robust=True)
    return answer


@tracing.submission()
def accept_many(
    asked: Sequence[Asked], *, batch: Batch | None = None, publish: bool = True
) -> list[Answer]:
    """Accept requests in one transaction, and return an answer for each, in order.

    What is wrong with one request is the ``error`` of its answer, and stops no other. On commit
    as much is published as the broker lacks; ``publish`` is false for a caller that does it itself
    (``release.publish_now``). Raises what concerns everybody, such as an outage.
    """
    answers = [Answer() for _ in asked]
    built = _build_all(asked, answers, batch)
    _hold_back_suppressed(built)
    watch.past_brief(partial(_write_many, built, publish=publish))
    metrics.refused(answer.error for answer in answers if answer.error is not None)
    return answers


def try_many(asked: Sequence[Asked]) -> list[Answer]:
    """Return the answers that ``accept_many`` would give, and write nothing.

    A row that would be written is its answer's ``row``. Whether an idempotency key was used before
    is not asked.
    """
    answers = [Answer() for _ in asked]
    _hold_back_suppressed(_build_all(asked, answers))
    return answers


def _read(asked: Asked) -> Request:
    """Read a request from its fields. Raises what is wrong with them."""
    given = asked.given() if callable(asked.given) else asked.given
    if isinstance(given, Request):
        return given
    return requests.read({**asked.common, **given} if asked.common else given)


def _build_all(
    asked: Sequence[Asked], answers: Sequence[Answer], batch: Batch | None = None
) -> list[_Built]:
    """Build the rows of many: what is wrong with one is its answer's error."""
    read = []
    for one, answer in zip(asked, answers, strict=True):
        if (request := _alone(partial(_read, one), answer)) is not None:
            read.append((one, request, answer))
    call = _Call(addressing.find(request for _, request, _ in read), clock.now(), batch)
    return [
        row
        for one, request, answer in read
        if (row := _alone(partial(_build, one, request, answer, call), answer))
    ]


def _build(asked: Asked, request: Request, answer: Answer, call: _Call) -> _Built:
    """Check a request and make its row. Raises what is wrong with it."""
    found, now, batch = call
    accepted, *others = addressing.check(request, found, now, asked.version)
    if batch is not None and accepted.project != batch.project:
        raise UnknownProject("All rows of a batch are of one project.", field="project")
    asked_for = None
    if accepted.recipient_key:  # whose addresses and language may change between two requests
        asked_for = accepted._replace(recipient=request.recipient, locale=request.locale)
    shared: dict[str, Any] = {
        "batch_id": batch.pk if batch else None,
        "replay_of_id": asked.replay_of_id,
    }
    answer.row = insert.build(
        accepted,
        now,
        id_=asked.id,
        use=asked.use,
        asked_for=asked_for,
        continuation=dict(asked.continuation) if asked.continuation else None,
        **shared,
    )
    version = accepted.template_version
    is_marketing = version is not None and version.category == Category.MARKETING
    kind = categories.kind_of(
        accepted.category, World(accepted.project, accepted.test), is_marketing=is_marketing
    )
    choices = addressing.choices_of(request, found)
    held_by = "" if choices is None else preferences.held_by(kind, accepted.channel, choices)
    if not held_by:
        answer.copies = [
            insert.build(other._replace(idempotency_key=""), now, **shared) for other in others
        ]
    is_marketing |= kind is not None and kind.name == categories.MARKETING
    return _Built(answer.row, answer, kind, is_marketing, held_by, asked.use, accepted.mail)


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


def _may_gather(asked: Asked, built: _Built) -> bool:
    """Return whether a request's row may be written in a transaction with others.

    Not inside a transaction of the caller's, which it is a part of; nor with an id of its own, or
    with attachments, whose writing may have to be done anew.
    """
    return (
        asked.id is None
        and built.mail is None
        and not transaction.get_connection().in_atomic_block
        and not eager.is_on()
    )


def _write_together(singles: Sequence[_Single]) -> None:
    """Write what several threads accept, or fail soon where a lock has to be waited for."""
    if len(singles) == 1:
        _write_singles(singles)
        return
    with transaction.atomic():
        dialect.wait_for_locks(grouping.PATIENCE)
        _write_singles(singles)


def _write_singles(singles: Sequence[_Single]) -> None:
    built = [one.built for one in singles]
    _hold_back_suppressed(built)
    for one in singles:
        row = one.built.row
        one.goes_at_once = _goes_at_once(row, publish=one.publish)
        if one.goes_at_once:
            insert.give_a_moment(row)
    if any(one.answer.copies for one in built):
        _insert_together(built)
    else:
        _insert(built)


_groups = grouping.Groups(_write_together)


def _write_alone(one: _Single, *, may_gather: bool) -> None:
    """Write one request's row, with others' where it may be. Raises what refuses it.

    What the database refuses of this row alone is its own fault, as it is in a batch. What no
    column takes is told of as such (``DataError``), and a caller's transaction that broke is the
    caller's.
    """

    def write() -> None:
        if not (may_gather and _groups.write(one)):
            _write_singles([one])

    try:
        watch.past_brief(lambda: isolation.tried(write))
    except DatabaseError as error:
        is_told = isinstance(error, DataError) or transaction.get_connection().in_atomic_block
        if is_told or isolation.concerns_everybody(error):
            raise
        fault = isolation.fault_of(error, "insert")
        isolation.log_faults([(one.built, fault)], _id_of)
        raise FaultyRow.of(fault.error) from None


def _write_many(built: Sequence[_Built], *, publish: bool) -> None:
    """Write rows in one transaction; what faults one is its answer's error."""
    with transaction.atomic():
        faults = isolation.halving(built, _insert_together, stage="insert", key=_id_of)
        for faulty, fault in faults:
            faulty.answer.created, faulty.answer.error = False, FaultyRow.of(fault.error)
        created = Counter(
            _queue_of(row)
            for one in built
            if one.answer.created
            for row in (one.row, *one.answer.copies)
        )
        transaction.on_commit(partial(_committed, created, None), robust=True)
        if created and publish:
            transaction.on_commit(release.publish_now, robust=True)


def _hold_back_suppressed(built: Sequence[_Built]) -> None:
    """Finish the rows of those who must not, or do not want to, be written to, saying why."""
    recipients: dict[tuple[World, str], set[str]] = defaultdict(set)
    for one in built:
        recipients[_world_of(one.row), one.row["channel"]].add(one.row["recipient"])
    found = {
        (world, channel): suppressions.among(channel, who, world=world)
        for (world, channel), who in recipients.items()
    }
    if not any(found.values()) and not any(one.held_by for one in built):
        return
    for one in built:
        row = one.row
        reason = suppressions.reason_in(
            found[_world_of(row), row["channel"]],
            row["recipient"],
            marketing=one.is_marketing,
            required=one.kind is not None and one.kind.required,
        )
        if reason := reason or one.held_by:
            status = Status.SUPPRESSED.value
            ended = {"due_at": None, "finished_at": row["created_at"]}
            row |= {"status": status, "reason": reason, **ended}


def _goes_at_once(row: insert.Row, *, publish: bool) -> bool:
    """Return whether a worker hears of a row by its id, so that the sweep gives it a moment."""
    if row["status"] != Status.QUEUED:
        return False
    channel, priority = _queue_of(row)
    return not publish or release_window.admit(
        channel, priority, routing.queue_for(channel, priority)
    )


def _insert_together(built: list[_Built]) -> None:
    """Write the rows, and for those that are new the ones of further devices, or nothing."""
    with transaction.atomic():
        _insert(built)
        copies = []
        for one in built:
            if one.answer.created:
                for row in one.answer.copies:
                    row["id"] = addressing.id_of_copy(one.row["id"], row["recipient"])
                copies += one.answer.copies
        if copies:
            insert.insert(copies)


def _insert(built: Sequence[_Built]) -> None:
    """Write the rows, and answer each: created, there already with this content, or a conflict.

    A further use of an id that is taken gets an id of its own.
    """
    taken = _written(built)
    for one in built:
        # Its error, too: what was answered before may have been rolled back.
        one.answer.id, one.answer.created, one.answer.error = one.row["id"], True, None
    if not taken:
        return
    doubled = [one for one in built if one.row["id"] in taken]
    firsts = _firsts([one.row for one in doubled])
    further = []
    same: Counter[tuple[str, str]] = Counter()
    for one in doubled:
        if _is_further_use(one, firsts):
            one.row["id"] = _id_of_use(one)
            further.append(one)
            continue
        _compare(one.answer, firsts)
        if one.answer.error is None:
            same[_queue_of(one.row)] += 1
    if further:
        _insert(further)
    for queue, count in same.items():
        metrics.accepted(*queue, created=False, count=count)


def _written(built: Sequence[_Built]) -> set[UUID]:
    """Write the rows, and with them what mails have beside; return the ids that were taken."""
    rows = [one.row for one in built]
    mails = [(one.row, one.mail) for one in built if one.mail is not None]
    if not mails:
        return insert.insert(rows)
    with transaction.atomic():  # the content stays locked until a row refers to it
        kept = keeping.keep(mail for _, mail in mails)
        for row, mail in mails:
            row["mail_id"] = kept[mail.digest]
        return insert.insert(rows)


def _firsts(doubled: Sequence[insert.Row]) -> "dict[UUID | _Key, _First]":
    """Find the rows that came first, by their ids and by their keys."""
    ids = [row["id"] for row in doubled]
    keys: dict[World, list[str]] = defaultdict(list)
    for row in doubled:
        if row["idempotency_key"]:
            keys[_world_of(row)].append(row["idempotency_key"])
    same = Q(id__in=ids)
    for world, used in keys.items():
        same |= Q(**world.columns, idempotency_key__in=used)
    firsts: dict[UUID | _Key, _First] = {}
    for first in map(_First._make, Notification.objects.filter(same).values_list(*_First._fields)):
        firsts[first.id] = first
        firsts[_Key(first.project, first.test, first.idempotency_key)] = first
    return firsts


def _is_further_use(one: _Built, firsts: Mapping[UUID | _Key, _First]) -> bool:
    """Return whether an id that Celery made was used before for another call, which has the row."""
    if not one.use or _by_key(one.row, firsts):
        return False
    first = firsts.get(one.row["id"])
    return first is not None and not _is_same(one.row, first)


def _is_same(row: insert.Row, first: _First) -> bool:
    return (first.content_hash, first.idempotency_key, first.project) == (
        row["content_hash"],
        row["idempotency_key"],
        row["project"],
    )


def _by_key(row: insert.Row, firsts: Mapping[UUID | _Key, _First]) -> _First | None:
    """Return the row that has used this one's key before; an empty key is nobody's."""
    key = row["idempotency_key"]
    return firsts.get(_Key(row["project"], row["test"], key)) if key else None


def _id_of_use(one: _Built) -> UUID:
    """Return the id of a further use: the same one whenever that use is repeated."""
    row = one.row
    return uuid5(row["id"], f"{one.use} {row['idempotency_key']} {row['content_hash']}")


def _compare(answer: Answer, firsts: Mapping[UUID | _Key, _First]) -> None:
    """Answer with the notification that came first, if it is the same thing."""
    row, answer.created = answer.row, False
    by_key = _by_key(row, firsts)
    first = by_key or firsts.get(row["id"])
    if first is not None and _is_same(row, first):
        answer.id = first.id
        return
    answer.id = None
    answer.error = used_before("idempotency_key" if by_key else "task_id")


def used_before(field: str) -> IdempotencyConflict:
    """Make the error of an idempotency key, or of a task's id, that stands for other content."""
    name = "idempotency key" if field == "idempotency_key" else "id"
    return IdempotencyConflict(
        f"This {name} was used before, for another content.",
        field=field,
        hint=f"Use a new {name} for a new notification.",
    )


def _id_of(one: _Built) -> object:
    return one.row["id"]


def _world_of(row: insert.Row) -> World:
    return World(row["project"], row["test"])


def _queue_of(row: insert.Row) -> tuple[str, str]:
    return row["channel"], row["priority"]


def _committed(created: Mapping[tuple[str, str], int], row: insert.Row | None) -> None:
    """Count rows that are there to stay, and publish the id of one that is on its way.

    The session that has written them tells whether an outage that is known is over.
    """
    watch.database.ask_here()
    for queue, count in created.items():
        metrics.accepted(*queue, created=True, count=count)
    if row is None:
        return
    try:
        publisher.publish_one(row["id"], routing.queue_for(row["channel"], row["priority"]))
    except publisher.BrokerAway:
        log.warning("left_to_the_sweep", notification=str(row["id"]))
