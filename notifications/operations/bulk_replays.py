"""Replays of many: an order in the database, worked off by the schedulers in small batches.

An order survives the death of whoever works on it: each batch moves it on in the same
transaction that replays, and the next batch is anybody's.
"""

import math
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, Max, QuerySet

from notifications.core.errors import InvalidField
from notifications.core.world import World
from notifications.db import clock, dialect
from notifications.models import BulkReplay, FailedDelivery
from notifications.models.project import within
from notifications.operations import replays
from notifications.operations.replays import Letter
from notifications.queueing import quarantine
from notifications.submission import acceptance
from notifications.submission.building import Asked
from scheduling.lookout import Rows, Work

LOOP = "bulk_replays"
BATCH = 2000  # rows per transaction
IDLE = 30.0  # seconds at most while there is no order; the lookout finds one
FASTEST = 10_000.0  # per second
USUAL_PACE = 5_000.0  # per second that a scheduler submits, until orders here have shown theirs
ORDERS_SEEN = 5  # the newest orders whose pace counts
REASONS_KEPT = 20  # different reasons for refusals that an order counts


def open_ones(fingerprint: str = "", world: World | None = None) -> "QuerySet[FailedDelivery]":
    """Return the open failed deliveries, of one cause or of all, of a world or of all."""
    found = within(FailedDelivery.objects.filter(state=FailedDelivery.State.OPEN), world)
    return found.filter(fingerprint=fingerprint) if fingerprint else found


def order(
    fingerprint: str, per_second: float, *, world: World | None = None, by: Any = None
) -> BulkReplay:
    """Order a replay of all open dead letters of a cause (empty: of every cause) and a world.

    Raises ``InvalidField`` for an impossible rate.
    """
    if not (math.isfinite(per_second) and 0 < per_second <= FASTEST):
        raise InvalidField(
            "The rate must be a number above 0.",
            field="per_second",
            hint=f"Give how many per second, at most {FASTEST:.0f}.",
        )
    there = open_ones(fingerprint, world).aggregate(total=Count("id"), last=Max("id"))
    return BulkReplay.objects.create(
        **(world.columns if world else {}),
        fingerprint=fingerprint,
        per_second=per_second,
        total=there["total"],
        last_id=there["last"] or 0,
        asked_by=by,
    )


def end(ordered: BulkReplay, why: str) -> bool:
    """End an order before it has replayed all; False if it has ended.

    The failed deliveries that are left stay open, and count as refused for this reason.
    """
    with transaction.atomic():
        current = BulkReplay.objects.select_for_update().get(pk=ordered.pk)
        if current.finished_at is not None:
            return False
        if left := current.total - current.done:
            _refuse(current, why, left)
        current.finished_at = clock.now()
        current.save()
    return True


def forecast(count: int, per_second: float) -> str:
    """Say in how many seconds or minutes the last of ``count`` would be due again."""
    seconds = seconds_for(count, per_second)
    return f"{math.ceil(seconds)} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def seconds_for(count: int, per_second: float) -> float:
    """Return the seconds until the last of ``count`` would be due again.

    That is by the rate, or by the pace at which orders have been worked off here, where that is
    slower; the orders before it come first.
    """
    before = sum(order.total - order.done for order in _unfinished())
    return max(count / per_second, (before + count) / _pace())


def _pace() -> float:
    """Return how many per second the newest orders of more than a batch were worked off at."""
    finished = BulkReplay.objects.filter(finished_at__isnull=False, total__gt=BATCH)
    orders = list(finished.order_by("-id")[:ORDERS_SEEN])
    took = sum((o.finished_at - o.created_at for o in orders if o.finished_at), timedelta(0))
    return sum(o.done for o in orders) / took.total_seconds() if took else USUAL_PACE


def work() -> tuple[Work, ...]:
    """Say where it shows that there is an order."""
    return (Rows(BulkReplay.objects.filter(finished_at__isnull=True)),)


def tick() -> float:
    """Work off a batch of the oldest order; return the seconds until the next wish to.

    An order that faults waits, is in quarantine after the third time, and holds up no other.
    """
    with transaction.atomic():
        key = _lock_oldest()
        if key is None:
            return IDLE
        quarantine.work_off(LOOP, BulkReplay.objects.all(), [key], _work_off_a_batch)
    return 0.0


def _work_off_a_batch(current: BulkReplay) -> None:
    ids = _next_ids(current)
    letters, unread = replays.read(ids)
    for _, fault in unread:
        _refuse(current, f"It cannot be read ({fault.error}).")
    if letters:
        _replay(current, letters)
    if ids:
        current.next_id = ids[-1]
    if len(ids) < BATCH:
        current.finished_at = clock.now()
    current.save()


def _next_ids(current: BulkReplay) -> list[int]:
    """Lock the next dead letters; one that somebody replays at this moment is passed over."""
    rows = open_ones(current.fingerprint, current.world)
    letters = rows.filter(id__gt=current.next_id, id__lte=current.last_id)
    if connection.features.has_select_for_update_skip_locked:
        letters = letters.select_for_update(skip_locked=True, of=("self",))
    return list(letters.order_by("id").values_list("id", flat=True)[:BATCH])


def _unfinished() -> "QuerySet[BulkReplay]":
    orders = BulkReplay.objects.filter(finished_at__isnull=True)
    return quarantine.passing_over(orders, LOOP).order_by("id")


def _lock_oldest() -> int | None:
    """Lock the oldest order that nobody else works on, and return its key."""
    orders = _unfinished()
    if connection.features.has_select_for_update_skip_locked:
        orders = orders.select_for_update(skip_locked=True)
    return orders.values_list("pk", flat=True).first()


def _replay(current: BulkReplay, letters: Sequence[Letter]) -> None:
    """Submit them again, each for its own moment: the n-th is due n / rate after the start."""
    waited = (clock.now() - current.created_at).total_seconds()
    asked = [
        Asked(
            partial(letter.fields, max(number / current.per_second - waited, 0)),
            replay_of_id=letter.notification_id,
        )
        for number, letter in enumerate(letters, current.accepted)
    ]
    replayed: dict[int, UUID] = {}
    for letter, answer in zip(letters, acceptance.accept_many(asked), strict=True):
        if answer.error is not None:
            _refuse(current, str(answer.error))
        elif answer.id is not None:
            replayed[letter.id] = answer.id
    current.accepted += len(replayed)
    dialect.write_each(
        FailedDelivery,
        "replayed_as_id",
        replayed,
        state=FailedDelivery.State.REPLAYED.value,
        resolved_by_id=current.asked_by_id,
        resolved_at=clock.now(),
    )


def _refuse(current: BulkReplay, error: str, count: int = 1) -> None:
    """Count refusals by their reason; beyond ``REASONS_KEPT`` reasons, as "other reasons"."""
    reason = error[:200]
    known = reason in current.refused or len(current.refused) < REASONS_KEPT
    reason = reason if known else "other reasons"
    current.refused[reason] = current.refused.get(reason, 0) + count
