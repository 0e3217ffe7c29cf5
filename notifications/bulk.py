"""The bulk door: the same checks as the single one, in chunks, in constant memory."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from rich.progress import MofNCompleteColumn, Progress

from notifications import clock, metrics, recovery, requests, rows
from notifications.errors import InvalidNotification
from notifications.models import Batch, Notification

CHUNK = 5000  # rows per transaction
ERRORS_KEPT = 1000  # refused rows that the batch's record describes


@dataclass(slots=True)
class Submitted:
    """What became of many: the batch that they are, and the errors by the index of their row."""

    batch: Batch
    accepted: int = 0
    duplicates: int = 0
    errors: dict[int, InvalidNotification] = field(default_factory=dict)

    @property
    def ids(self) -> list[UUID]:
        """The ids of what was accepted, in order, read from the database."""
        found = Notification.objects.filter(batch=self.batch).order_by("id")
        return list(found.values_list("id", flat=True))


def send_many(
    requested: Iterable[Mapping[str, Any]],
    *,
    name: str = "",
    batch: Batch | None = None,
    progress: bool = False,
    **common: Any,
) -> Submitted:
    """Accept many notifications as one batch, and ring for them as they are committed.

    ``common`` holds fields that all rows share, such as ``channel`` and ``template``; a row's
    own win. A bad row is reported with its index and stops no other; one whose idempotency key
    is taken is counted as a duplicate. Each chunk of 5,000 rows is a transaction of its own,
    so that what was accepted before an interruption stays accepted. ``progress`` shows a bar.
    """
    submitted = Submitted(batch or Batch.objects.create(name=name[:255]))
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, disable=not progress) as bar:
        total = len(requested) if isinstance(requested, Sized) else None
        task = bar.add_task("accepting", total=total)
        for chunk in _chunks(enumerate(requested)):
            _accept(chunk, common, submitted)
            bar.advance(task, len(chunk))
    Batch.objects.filter(pk=submitted.batch.pk).update(closed_at=clock.now())
    submitted.batch.refresh_from_db()
    return submitted


def _accept(
    chunk: list[tuple[int, Mapping[str, Any]]], common: Mapping[str, Any], submitted: Submitted
) -> None:
    now = clock.now()
    batch = submitted.batch
    built = []
    errors = {}
    for index, fields in chunk:
        try:
            accepted = requests.check(requests.read({**common, **fields}), now)
        except InvalidNotification as error:
            errors[index] = error
        else:
            built.append(rows.build(accepted, now, on_its_way=False, batch_id=batch.pk))
    by_queue: dict[tuple[str, str], list[rows.Row]] = defaultdict(list)
    for row in built:
        by_queue[row["channel"], row["priority"]].append(row)
    with transaction.atomic():
        kept = {queue: rows.insert_many(those) for queue, those in by_queue.items()}
        accepted_now = sum(kept.values())
        _count(batch, accepted_now, len(built) - accepted_now, errors)
        transaction.on_commit(recovery.ring_all, robust=True)
    for (channel, priority), count in kept.items():
        metrics.accepted(channel, priority, created=True, count=count)
        doubles = len(by_queue[channel, priority]) - count
        metrics.accepted(channel, priority, created=False, count=doubles)
    metrics.refused(errors.values())
    submitted.accepted += accepted_now
    submitted.duplicates += len(built) - accepted_now
    submitted.errors |= errors


def _count(
    batch: Batch, accepted: int, duplicates: int, errors: Mapping[int, InvalidNotification]
) -> None:
    batch.errors += [
        {"index": index, "field": error.field, "error": type(error).__name__, "detail": str(error)}
        for index, error in islice(errors.items(), ERRORS_KEPT - len(batch.errors))
    ]
    Batch.objects.filter(pk=batch.pk).update(
        accepted=F("accepted") + accepted,
        duplicates=F("duplicates") + duplicates,
        refused=F("refused") + len(errors),
        errors=batch.errors,
    )


def _chunks(
    numbered: Iterator[tuple[int, Mapping[str, Any]]],
) -> Iterator[list[tuple[int, Mapping[str, Any]]]]:
    while chunk := list(islice(numbered, CHUNK)):
        yield chunk
