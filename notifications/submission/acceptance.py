"""The one way in, written for N requests; one is the case N = 1.

Check and build (``building``), insert and compare duplicates (``writing``), count, and publish on
commit. One request's fault is its own: it becomes that request's answer.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from django.db import DatabaseError, DataError, transaction

from notifications import metrics, tracing
from notifications.core import routing
from notifications.core.errors import FaultyRow
from notifications.db import clock, dialect
from notifications.models import Batch, Status
from notifications.queueing import eager, publisher, release, release_window
from notifications.submission import addressing, grouping, insert, writing
from notifications.submission.building import (
    Answer,
    Asked,
    Built,
    Call,
    build,
    build_all,
    hold_back_suppressed,
    is_counted,
    known_repeats,
    queue_of,
    read,
    take_places,
)
from notifications.transitions import new
from scheduling import isolation, watch
from scheduling.transactions import after_commit

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Single:
    """A request that came by itself; ``goes_at_once`` if a worker will hear of it by its id.

    ``is_eager`` is asked once for each request: it is a slow look into Celery's settings.
    """

    built: Built
    publish: bool
    is_eager: bool
    goes_at_once: bool = False


@tracing.submission()
def accept_one(asked: Asked, *, publish: bool = True) -> Answer:
    """Accept one request. Raises what refuses it: a subclass of ``InvalidNotification``.

    What other threads of this process accept meanwhile is written in the same transaction. Its id
    is published on commit where its queue's window has room; else the sweep publishes it.
    ``publish`` is false for a caller that delivers itself.
    """
    answer = Answer()
    with metrics.refusals():
        request = read(asked)
        began = time.monotonic()
        call = Call(addressing.find([request]), clock.now(), began)
        single = _Single(build(asked, request, answer, call), publish, eager.is_on())
        _write_alone(single, may_gather=_may_gather(asked, single))
        if answer.error is not None:
            raise answer.error
    if answer.created:
        queue = queue_of(answer.row)
        published = answer.row if publish and single.goes_at_once else None
        waits = publish and not single.goes_at_once and answer.row["status"] == Status.QUEUED
        committed = partial(
            _committed, {queue: 1 + len(answer.copies)}, published, queue if waits else None
        )
        after_commit(committed, raises=bool(published and single.is_eager and eager.raises()))
        if answer.copies and publish:
            after_commit(release.publish_now)
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
    built = build_all(asked, answers, batch)
    hold_back_suppressed(built)
    watch.past_brief(partial(_write_many, built, publish=publish))
    metrics.refused(answer.error for answer in answers if answer.error is not None)
    return answers


def _may_gather(asked: Asked, single: _Single) -> bool:
    """Return whether a request's row may be written in a transaction with others.

    Not inside a transaction of the caller's, which it is a part of; nor with an id of its own, or
    with attachments or a digest, whose writing may have to be done anew, or to wait.
    """
    return (
        asked.id is None
        and single.built.mail is None
        and single.built.collected is None
        and single.built.throttled is None
        and not transaction.get_connection().in_atomic_block
        and not single.is_eager
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
    built = [single.built for single in singles]
    hold_back_suppressed(built)
    _place_and_insert(built, partial(_insert_singles, singles))


def _insert_singles(singles: Sequence[_Single]) -> None:
    built = [single.built for single in singles]
    for single in singles:
        row = single.built.row
        single.goes_at_once = _goes_at_once(row, publish=single.publish and not single.is_eager)
        if single.goes_at_once:
            new.give_a_moment(row)
    if any(item.answer.copies for item in built):
        writing.insert_together(built)
    else:
        writing.insert_rows(built)


_groups = grouping.Groups(_write_together)


def _write_alone(single: _Single, *, may_gather: bool) -> None:
    """Write one request's row, with others' where it may be. Raises what refuses it.

    What the database refuses of this row alone is its own fault, as it is in a batch. What no
    column takes is told of as such (``DataError``), and a caller's transaction that broke is the
    caller's.
    """

    def write() -> None:
        if not (may_gather and _groups.write(single)):
            _write_singles([single])

    try:
        watch.past_brief(lambda: isolation.tried(write))
    except DatabaseError as error:
        is_told = isinstance(error, DataError) or transaction.get_connection().in_atomic_block
        if is_told or isolation.concerns_everybody(error):
            raise
        fault = isolation.fault_of(error, "insert")
        isolation.log_faults([(single.built, fault)], _id_of)
        raise FaultyRow.of(fault.error) from None


def _write_many(built: Sequence[Built], *, publish: bool) -> None:
    """Write rows in one transaction; what faults one is its answer's error."""
    with transaction.atomic():
        faults = isolation.halving(built, _insert_part, stage="insert", key=_id_of)
        for faulty, fault in faults:
            faulty.answer.created, faulty.answer.error = False, FaultyRow.of(fault.error)
        created = Counter(
            queue_of(row)
            for item in built
            if item.answer.created
            for row in (item.row, *item.answer.copies)
        )
        after_commit(partial(_committed, created, None))
        if created and publish:
            after_commit(release.publish_now)


def _insert_part(built: list[Built]) -> None:
    with transaction.atomic():
        _place_and_insert(built, partial(writing.insert_together, built))


def _place_and_insert(built: Sequence[Built], insert_all: Callable[[], None]) -> None:
    """Write rows with the places that are for them: what was written before takes none.

    Which those are is known for sure once the rows are inserted, as another transaction may be
    writing the same. If it was more or less than was thought, all is rolled back and done anew.
    """
    if not any(map(is_counted, built)):
        insert_all()
        return
    repeats = known_repeats(built)
    while (found := _try_places(built, repeats, insert_all)) != repeats:
        repeats = found


def _try_places(
    built: Sequence[Built], repeats: set[int], insert_all: Callable[[], None]
) -> set[int]:
    """Write rows where ``repeats`` are those that were written before; return which really were.

    Nothing is written if these are others.
    """
    with transaction.atomic():
        take_places(built, repeats)
        insert_all()
        found = {
            index
            for index, item in enumerate(built)
            if is_counted(item) and not item.answer.created
        }
        if found != repeats:
            transaction.set_rollback(True)
    return found


def _goes_at_once(row: insert.Row, *, publish: bool) -> bool:
    """Return whether a worker hears of a row by its id, so that the sweep gives it a moment."""
    if row["status"] != Status.QUEUED:
        return False
    channel, priority = queue_of(row)
    return not publish or release_window.admit(
        channel, priority, routing.queue_for(channel, priority)
    )


def _id_of(built: Built) -> object:
    return built.row["id"]


def _committed(
    created: Mapping[tuple[str, str], int],
    row: insert.Row | None,
    left_due: tuple[str, str] | None = None,
) -> None:
    """Count rows that are there to stay, and publish the id of one that is on its way.

    Of the queue ``left_due``, which had no room for that, the due rows are announced. The session
    that has written them tells whether an outage that is known is over.
    """
    watch.database.ask_here()
    for queue, count in created.items():
        metrics.accepted(*queue, created=True, count=count)
    if left_due is not None:
        release.announce(*left_due)
    if row is None:
        return
    try:
        publisher.publish_one(row["id"], routing.queue_for(row["channel"], row["priority"]))
    except publisher.BrokerAway:
        log.warning("left_to_the_sweep", notification=str(row["id"]))
