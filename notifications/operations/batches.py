"""What an operator does to a batch, and how far it is.

Its state holds at once: each claim looks at it. The rows follow a chunk at a time, the first chunk
at once, the others by a tick of the scheduler, until the batch is settled.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from notifications.core.reasons import Reason
from notifications.core.world import LIVE, World
from notifications.db import clock, dialect
from notifications.models import UNFINISHED, WAITING, Batch, Notification, Status
from notifications.operations import holds
from notifications.queueing import quarantine
from notifications.submission import repeats
from notifications.transitions import waiting
from scheduling.lookout import Rows, Work

LOOP = "batches"
CHUNK = 5000  # rows per step
PAUSED = Reason.BATCH_PAUSED  # the reason of a notification that waits for its batch
BUSY, IDLE = 0.0, 30.0  # seconds at most, unless the lookout finds work
_WAITING_AS = {Batch.State.PAUSED.value: "paused", Batch.State.CANCELLED.value: "cancelled"}
_OF_A_SCHEDULE = "schedule "  # begins the name of a batch that a schedule's run made


def name_for(run: str) -> str:
    """Return the batch that a run of a schedule makes; ``run`` is its task's id."""
    return _OF_A_SCHEDULE + run


def of_run(run: str, *, use: str = "", content: str = "", world: World = LIVE) -> Batch:
    """Return the batch of a schedule's run, the same whenever the run is repeated.

    ``run`` is its task's id; ``use`` tells one use of that id from another. Raises
    ``IdempotencyConflict`` if the run was for another ``content``.
    """
    try:
        fire = UUID(run)
    except ValueError:  # a task id of somebody's own
        fire = None
    columns = {"name": name_for(run)[:255], "run": fire, **world.columns}
    batch, _ = repeats.of_task(use or run, content, **columns)
    return batch


def run_of(batch: Batch) -> UUID | None:
    """Return the run of a schedule that made this batch, if one did."""
    if batch.run is not None:
        return batch.run
    if not batch.name.startswith(_OF_A_SCHEDULE):
        return None
    try:
        return UUID(batch.name.removeprefix(_OF_A_SCHEDULE))
    except ValueError:  # a person's own name for it
        return None


def pause(batch: Batch) -> bool:
    """Hold back what no worker has yet; False if the batch was not active.

    When this returns nothing of it is claimed any more; what is ``sending`` may still go out.
    """
    return _set_state(batch, Batch.State.PAUSED, Batch.State.ACTIVE)


def resume(batch: Batch) -> bool:
    """Go on with a paused batch; False if it was not paused."""
    return _set_state(batch, Batch.State.ACTIVE, Batch.State.PAUSED)


def cancel(batch: Batch) -> bool:
    """Call off what no worker has yet; False if it was cancelled before.

    When this returns nothing of it is claimed any more; what is ``sending`` may still go out.
    """
    return _set_state(batch, Batch.State.CANCELLED, Batch.State.ACTIVE, Batch.State.PAUSED)


def progress(batch: Batch) -> dict[str, int]:
    """Count the batch's notifications by state.

    What no worker has is counted as its batch's state has it: paused, or cancelled, whether its
    row has followed yet or not.
    """
    return progress_of([batch])[batch.pk]


def progress_of(rows: Sequence[Batch]) -> dict[UUID, dict[str, int]]:
    """Count as ``progress`` does, of several batches at once, by their ids."""
    states = {batch.pk: batch.state for batch in rows}
    counts: dict[UUID, Counter[str]] = {key: Counter() for key in states}
    notifications = Notification.objects.filter(batch__in=states).order_by()
    # Of the index alone: no other column is named.
    for key, status, count in notifications.values_list("batch", "status").annotate(all=Count("*")):
        shown = _WAITING_AS.get(states[key], status) if status in WAITING else status
        counts[key][shown] += count
    return {key: dict(found) for key, found in counts.items()}


def is_over(batch: Batch, counts: Mapping[str, int]) -> bool:
    """Return whether all its rows were accepted and none is left to be sent."""
    return batch.closed_at is not None and not {*UNFINISHED, "paused"} & counts.keys()


def work() -> tuple[Work, ...]:
    """Say where it shows that notifications have to follow their batch."""
    return (Rows(Batch.objects.filter(settled=False)),)


def tick() -> float:
    """Move on notifications of unsettled batches; return the seconds until the next round."""
    unsettled = quarantine.passing_over(Batch.objects.filter(settled=False), LOOP)
    keys = list(unsettled.order_by("id").values_list("pk", flat=True)[:10])
    moved: list[int] = []
    quarantine.work_off(LOOP, Batch.objects.all(), keys, lambda row: moved.append(_move_chunk(row)))
    return BUSY if any(moved) else IDLE


def _set_state(batch: Batch, to: str, *before: str) -> bool:
    with holds.changing():
        turned = Batch.objects.filter(pk=batch.pk, state__in=before).update(state=to, settled=False)
    batch.refresh_from_db()
    if turned:
        _move_chunk(batch)
    return bool(turned)


def _move_chunk(batch: Batch) -> int:
    """Have one chunk follow the batch's state; return how many did."""
    with holds.following():
        batch.refresh_from_db(fields=["state", "closed_at"])
        # What a worker is just claiming is passed over, and followed up by the next round.
        ids = dialect.lock_free(_behind(batch), CHUNK)
        moved = _move(batch, Notification.objects.filter(id__in=ids))
        is_rest = len(ids) < CHUNK and not _behind(batch).exists()
        if is_rest and batch.closed_at and not _is_sending(batch):
            Batch.objects.filter(pk=batch.pk).update(settled=True)
    return moved


def _is_sending(batch: Batch) -> bool:
    """Return whether rows may come back from a worker, to be tried again."""
    return Notification.objects.filter(batch=batch, status=Status.SENDING).exists()


def _behind(batch: Batch) -> "QuerySet[Notification]":
    """Return the notifications that do not follow the batch's state yet."""
    waiting = Notification.objects.filter(batch=batch, status__in=WAITING)
    held = Q(reason=PAUSED, due_at__isnull=True)
    match batch.state:
        case Batch.State.PAUSED:
            return waiting.exclude(held)
        case Batch.State.ACTIVE:
            return waiting.filter(held)
        case _:
            return waiting


def _move(batch: Batch, rows: "QuerySet[Notification]") -> int:
    now = clock.now()
    match batch.state:
        case Batch.State.PAUSED:
            return waiting.park(rows, PAUSED)
        case Batch.State.ACTIVE:
            return waiting.release(rows, PAUSED, now)
        case _:
            return waiting.cancel(rows, Reason.BATCH_CANCELLED, now)
