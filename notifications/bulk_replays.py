"""Replays of many: an order in the database, worked off by the schedulers in small batches.

An order survives the death of whoever works on it: each batch moves it on in the same
transaction that replays, and the next batch is anybody's.
"""

import math
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max, QuerySet

from notifications import clock, replays
from notifications.errors import InvalidField, ReplayRefused
from notifications.models import BulkReplay, FailedDelivery

BATCH = 100
IDLE = 1.0  # seconds between looks while there is no order
FASTEST = 10_000.0  # per second


def open_ones(fingerprint: str = "") -> "QuerySet[FailedDelivery]":
    """The dead letters that nobody has seen to, of one cause or of all."""
    found = FailedDelivery.objects.filter(state=FailedDelivery.State.OPEN)
    return found.filter(fingerprint=fingerprint) if fingerprint else found


def order(fingerprint: str, per_second: float, *, by: Any = None) -> BulkReplay:
    """Order a replay of all open dead letters of a cause (empty: of every cause).

    Raises ``InvalidField`` for an impossible rate.
    """
    if not (math.isfinite(per_second) and 0 < per_second <= FASTEST):
        raise InvalidField(
            "A rate is a number above 0.",
            field="per_second",
            hint=f"Give how many per second, at most {FASTEST:.0f}.",
        )
    there = open_ones(fingerprint).aggregate(total=Count("id"), last=Max("id"))
    return BulkReplay.objects.create(
        fingerprint=fingerprint,
        per_second=per_second,
        total=there["total"],
        last_id=there["last"] or 0,
        asked_by=by,
    )


def tick() -> float:
    """Work off a batch of the oldest order; give the seconds until the next wish to."""
    return 0.0 if _work_off_a_batch() else IDLE


def _work_off_a_batch() -> bool:
    with transaction.atomic():
        current = _take()
        if current is None:
            return False
        letters = list(
            open_ones(current.fingerprint)
            .filter(id__gt=current.next_id, id__lte=current.last_id)
            .select_related("notification__template_version__template")
            .order_by("id")[:BATCH]
        )
        _replay(current, letters)
        if len(letters) < BATCH:
            current.finished_at = clock.now()
        current.save()
    return True


def _take() -> BulkReplay | None:
    unfinished = BulkReplay.objects.filter(finished_at__isnull=True).order_by("id")
    if connection.features.has_select_for_update_skip_locked:
        unfinished = unfinished.select_for_update(skip_locked=True)
    return unfinished.first()


def _replay(current: BulkReplay, letters: list[FailedDelivery]) -> None:
    """Replay each for its own moment: the n-th accepted one is due n / rate after the start."""
    for letter in letters:
        waited = (clock.now() - current.created_at).total_seconds()
        due_in = max(current.accepted / current.per_second - waited, 0.0)
        try:
            replays.replay(letter, by=current.asked_by, countdown=due_in)
            current.accepted += 1
        except ReplayRefused as error:
            # Reasons without a number: a bounded list however many are refused.
            reason = str(error)[:200]
            known = reason in current.refused or len(current.refused) < 20
            reason = reason if known else "other reasons"
            current.refused[reason] = current.refused.get(reason, 0) + 1
        current.next_id = letter.id
