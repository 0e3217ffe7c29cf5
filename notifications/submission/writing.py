"""Rows are inserted, and those that were there before are compared: each gets its answer.

An id or an idempotency key stands for one content: the same again is a duplicate, another a
conflict, and a further use of an id that Celery made gets an id of its own.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import Q

from notifications import metrics
from notifications.core.errors import IdempotencyConflict
from notifications.core.world import World
from notifications.mails import keeping
from notifications.models import Notification
from notifications.submission import addressing, insert
from notifications.submission.building import Answer, Built, queue_of, world_of
from scheduling.transactions import after_commit


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


def insert_together(built: list[Built]) -> None:
    """Write the rows, and for those that are new the ones of further devices, or nothing."""
    with transaction.atomic():
        insert_rows(built)
        copies = []
        for item in built:
            if item.answer.created:
                for row in item.answer.copies:
                    row["id"] = addressing.id_of_copy(item.row["id"], row["recipient"])
                copies += item.answer.copies
        if copies:
            insert.insert(copies)


def insert_rows(built: Sequence[Built]) -> None:
    """Write the rows, and answer each: created, there already with this content, or a conflict.

    A further use of an id that is taken gets an id of its own.
    """
    taken = _insert_rows(built)
    for item in built:
        # Its error, too: what was answered before may have been rolled back.
        item.answer.id, item.answer.created, item.answer.error = item.row["id"], True, None
    if not taken:
        return
    doubled = [item for item in built if item.row["id"] in taken]
    firsts = _firsts([item.row for item in doubled])
    further = []
    same: Counter[tuple[str, str]] = Counter()
    for item in doubled:
        if _is_further_use(item, firsts):
            item.row["id"] = _id_of_use(item)
            further.append(item)
            continue
        _compare(item.answer, firsts)
        if item.answer.error is None:
            same[queue_of(item.row)] += 1
    if further:
        insert_rows(further)
    for queue, count in same.items():
        counted = partial(metrics.accepted, *queue, created=False, count=count)
        after_commit(counted)


def _insert_rows(built: Sequence[Built]) -> set[UUID]:
    """Write the rows, and with them what mails have beside; return the ids that were taken."""
    rows = [item.row for item in built]
    mails = [(item.row, item.mail) for item in built if item.mail is not None]
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
            keys[world_of(row)].append(row["idempotency_key"])
    same = Q(id__in=ids)
    for world, used in keys.items():
        same |= Q(**world.columns, idempotency_key__in=used)
    firsts: dict[UUID | _Key, _First] = {}
    for first in map(_First._make, Notification.objects.filter(same).values_list(*_First._fields)):
        firsts[first.id] = first
        firsts[_Key(first.project, first.test, first.idempotency_key)] = first
    return firsts


def _is_further_use(built: Built, firsts: Mapping[UUID | _Key, _First]) -> bool:
    """Return whether an id that Celery made was used before for another call, which has the row."""
    if not built.use or _by_key(built.row, firsts):
        return False
    first = firsts.get(built.row["id"])
    return first is not None and not _is_same(built.row, first)


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


def _id_of_use(built: Built) -> UUID:
    """Return the id of a further use: the same one whenever that use is repeated."""
    row = built.row
    return uuid5(row["id"], f"{built.use} {row['idempotency_key']} {row['content_hash']}")


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
        f"This {name} was used before, with other content.",
        field=field,
        hint=f"Use a new {name} for a new notification.",
    )
