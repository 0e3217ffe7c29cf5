"""Calls what follows a notification that has ended, at least once each, and each on its own.

The worker that recorded the end calls it at once; the sweep sees to what ended otherwise
(expired, cancelled, told by a receipt) and to what a dead worker left. What was called leaves
the row in the same transaction. So a second call waits for the first and finds nothing, and a
follower that is a send is accepted once.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from celery import current_app, states
from celery.app.task import Context
from celery.exceptions import TaskRevokedError
from celery.utils.functional import maybe_list
from django.db import transaction
from django.db.models import Q, QuerySet

from notifications.canvas import signatures
from notifications.canvas.results import id_of
from notifications.canvas.signatures import Json
from notifications.core.conf import conf
from notifications.core.errors import DeliveryFailed, InvalidNotification
from notifications.core.routing import SEND_TASK
from notifications.db import clock
from notifications.delivery import failed_deliveries
from notifications.delivery.outcomes import Recorded
from notifications.models import Notification, Status
from notifications.queueing import quarantine
from notifications.transitions import finished
from scheduling import isolation, outages
from scheduling.isolation import Fault
from scheduling.lookout import Rows, Work

log = structlog.get_logger(__name__)

LOOP = "followers"  # names what is quarantined
OUTAGE_BACKOFF = 5.0  # seconds until what could not be published is tried again
SUCCEEDED = (Status.SENT, Status.DELIVERED, Status.MERGED)


class _Step(NamedTuple):
    """One task to call, its key, and what remains to be called after it."""

    key: str
    call: Callable[[], object]
    rest: Json


def call(id_: UUID) -> bool:
    """Call what follows a notification, unless somebody else is at it; False in an outage.

    A follower that faults costs itself: it stays in the row, is tried again twice, and is then
    quarantined. While the broker is away, what could not be published stays for the sweep. Raises
    what an outage of the database raises.
    """
    faults: dict[str, Fault] = {}
    try:
        _, broken = isolation.each([id_], partial(_call_all, faults=faults), stage=LOOP, key=str)
    except Exception as error:
        outage = outages.of(error)
        if outage is None or outage.server == outages.DATABASE:
            raise
        log.warning("followers_wait", server=outage.server, reason=outage.reason)
        finished.call_followers_later(id_, clock.now() + timedelta(seconds=OUTAGE_BACKOFF))
        return False
    isolation.log_faults([(id_, fault) for fault in faults.values()], str)
    if found := [*faults.values(), *(fault for _, fault in broken)]:
        quarantine.note(LOOP, [(id_, found[0])])
    return True


def call_after(recorded: Iterable[Recorded]) -> None:
    """Call what follows those of these notifications that have ended. Raises as ``call``."""
    for ended in recorded:
        if ended.claim.continuation and not ended.stale:
            call(ended.claim.id)


def work() -> Work:
    """Say where it shows that followers may have to be called."""
    return Rows(_uncalled().order_by("finished_at"))


def call_overdue(limit: int) -> int:
    """See to the notifications whose followers nobody called; return how many were seen to."""
    now = clock.now()
    overdue = _uncalled().filter(
        Q(due_at__isnull=True) | Q(due_at__lte=now),
        finished_at__lte=now - timedelta(seconds=conf.pickup_grace),
    )
    rows = quarantine.passing_over(overdue, LOOP).order_by("finished_at")
    ids = list(rows.values_list("id", flat=True)[:limit])
    for at, id_ in enumerate(ids):
        if not call(id_):
            return at  # the others would wait for the same server, one timeout after the other
    return len(ids)


def _uncalled() -> "QuerySet[Notification]":
    return Notification.objects.filter(continuation__isnull=False, finished_at__isnull=False)


def _call_all(id_: UUID, faults: dict[str, Fault]) -> None:
    while _call_next(id_, faults):
        pass


def _call_next(id_: UUID, faults: dict[str, Fault]) -> bool:
    """Call one follower that has not faulted; False if there is none, or somebody else is at it."""
    with transaction.atomic():
        row = _uncalled().select_for_update(skip_locked=True).filter(id=id_).first()
        if row is None:
            return False
        step = next((step for step in _steps(row) if step.key not in faults), None)
        if step is None:
            if not faults:
                finished.keep_followers(row.id, None)
            return False
        finished.keep_followers(row.id, step.rest)
        try:
            with transaction.atomic():
                step.call()
        except Exception as error:
            if isolation.concerns_everybody(error):
                raise
            faults[step.key] = isolation.fault_of(error, step.key.partition(" ")[0])
            finished.keep_followers(row.id, row.continuation)
    return True


def _steps(row: Notification) -> Iterator[_Step]:
    """Yield what is to be called, in order, by how the notification ended."""
    kept: Json = row.continuation or {}
    request = _request(row.id, kept)
    if row.status in SUCCEEDED:
        yield from _after_success(kept, request)
    elif row.status == Status.CANCELLED:
        yield from _after_failure(kept, request, TaskRevokedError("revoked"), states.REVOKED)
    else:
        error = DeliveryFailed(row.reason or row.status)
        yield from _after_failure(kept, request, error, states.FAILURE)
        yield from _error_links(kept, request, error)


def _after_success(kept: Json, request: Context) -> Iterator[_Step]:
    passed_on = {"parent_id": request.id, "root_id": request.root_id or request.id}
    for link, others in _links(kept, "link"):
        yield _Step(_key("link", link), partial(_call, link, request.id, **passed_on), others)
    if chain := kept.get("chain"):
        following = partial(_call, chain[-1], request.id, chain=chain[:-1], **passed_on)
        yield _Step("chain", following, {**kept, "chain": []})
    if request.chord:
        done = partial(
            current_app.backend.mark_as_done, request.id, request.id, request, store_result=False
        )
        yield _Step("chord", done, {**kept, "chord": None})


def _after_failure(kept: Json, request: Context, error: Exception, state: str) -> Iterator[_Step]:
    """Fail the chord that the notification is a part of, and what would have come after it."""
    if request.chord or request.chain:
        fail = partial(
            current_app.backend.mark_as_failure,
            *(request.id, error),
            request=request,
            call_errbacks=False,
            state=state,
        )
        yield _Step("chord", fail, {**kept, "chord": None, "chain": []})


def _error_links(kept: Json, request: Context, error: Exception) -> Iterator[_Step]:
    for link, others in _links(kept, "link_error"):
        failed = Context({**vars(request), "errbacks": [signatures.signature_of(link)]})
        call = current_app.backend._call_task_errbacks  # noqa: SLF001 -- it knows what an errback takes
        tell = partial(call, failed, error, None)
        yield _Step(_key("link_error", link), tell, others)


def _links(kept: Json, name: str) -> Iterator[tuple[Json, Json]]:
    """Yield each link with what is kept beside it."""
    links = maybe_list(kept.get(name)) or []  # one alone, in rows of earlier versions
    for at, link in enumerate(links):
        yield link, {**kept, name: [*links[:at], *links[at + 1 :]]}


def _key(name: str, link: Json) -> str:
    return f"{name} {json.dumps(link, sort_keys=True)}"


def _request(id_: UUID, kept: Json) -> Context:
    """Make the request that Celery's own machinery of chords and errors asks for."""
    return Context(
        id=str(id_),
        task=SEND_TASK,
        args=(),
        kwargs={},
        delivery_info={},
        chain=[signatures.signature_of(link) for link in kept.get("chain") or ()],
        chord=signatures.signature_of(kept["chord"]) if kept.get("chord") else None,
        group=kept.get("group_id"),
        group_index=kept.get("group_index"),
        root_id=kept.get("root_id"),
        parent_id=kept.get("parent_id"),
    )


def _call(following: Json, id_: str, **options: Any) -> None:
    signature = signatures.signature_of(following)
    _drop_used_id(signature)
    if _is_revoked(signature):
        _end_unsent(signature, TaskRevokedError("revoked"), options, states.REVOKED)
        return
    try:
        signature.apply_async((id_,), **options)
    except InvalidNotification as error:
        if signature.task != SEND_TASK:
            raise
        _refuse(signature, error, options)


def _drop_used_id(signature: Any) -> None:
    """Let a send have a new id where another use of the signature has the one that is in it.

    It can only be another use: what was called is not called again.
    """
    id_ = signature.options.get("task_id")
    if signature.task == SEND_TASK and id_ and _exists(id_):
        del signature.options["task_id"]


def _exists(task_id: str) -> bool:
    return Notification.objects.filter(id=id_of(task_id)).exists()


def _is_revoked(signature: Any) -> bool:
    """Return whether a send was revoked before there was a row; other tasks their workers drop."""
    id_ = signature.options.get("task_id")
    if signature.task != SEND_TASK or not id_:
        return False
    return bool(current_app.backend.get_state(id_) == states.REVOKED)


def _refuse(signature: Any, error: InvalidNotification, options: Mapping[str, Any]) -> None:
    """Keep a send that cannot be accepted any more as a dead letter."""
    id_ = signature.options.get("task_id") or f"follows {options['parent_id']}"
    failed_deliveries.keep_refused(
        id_, signature.kwargs, error, use=str(options.get("parent_id", ""))
    )
    _end_unsent(signature, error, options, states.FAILURE)


def _end_unsent(signature: Any, error: Exception, options: Mapping[str, Any], state: str) -> None:
    """Store the end of a send that has no row, and fail what waits for it."""
    merged = {**signature.options, **options}
    id_ = merged.get("task_id") or ""
    request = Context(
        id=id_,
        task=SEND_TASK,
        args=(),
        kwargs={},
        delivery_info={},
        chain=[signatures.signature_of(link) for link in merged.get("chain") or ()],
        chord=merged.get("chord"),
        group=merged.get("group_id"),
        errbacks=maybe_list(merged.get("link_error")),
    )
    current_app.backend.mark_as_failure(
        *(id_, error),
        request=request,
        store_result=bool(id_),
        call_errbacks=state == states.FAILURE,
        state=state,
    )
