"""Writes the rows of a batch to an audience: whom it has is frozen at once, the rows follow.

Who is in it is written down by one statement as the batch begins, as chunks of primary keys. Every
scheduler takes chunks, each in a transaction that deletes the chunk, inserts its notifications and
counts them. So a chunk whose scheduler dies is there again, and none is written twice; a
notification's id follows from its batch and recipient, so that the primary key would refuse it.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from notifications.audiences import saved, sql, variables
from notifications.core.errors import InvalidNotification, UnknownRecipient
from notifications.core.text import printable
from notifications.core.world import DEFAULT_PROJECT
from notifications.db import clock, dialect
from notifications.db.bulk_insert import Row, Table
from notifications.models import Audience, Batch, Expansion, ExpansionChunk, RefusedRow, Status
from notifications.queueing import quarantine
from notifications.submission import acceptance, requests
from notifications.submission.building import Answer, Asked
from notifications.submission.bulk import ERRORS_KEPT
from scheduling.lookout import Rows, Work

LOOP = "audiences"
CHUNK = 2000  # recipients per transaction
BUSY, IDLE = 0.0, 30.0  # seconds at most, unless the lookout finds work
REASONS_KEPT = 50  # different reasons that a batch counts
OTHER = "other"

_CHUNKS = ExpansionChunk._meta.db_table
# All keys as one array, of which each chunk is a slice: half the processor time of numbering and
# grouping a million of them, and 8 bytes for each in memory. An array holds some 60 million.
_SLICED = """
    SELECT %s, place, to_jsonb(ids[place + 1:place + {most}])
    FROM (SELECT array_agg(r.id ORDER BY r.id) AS ids FROM {table} r WHERE {where}) AS found,
        generate_series(0, cardinality(ids) - 1, {most}) AS place
"""
_GROUPED = """
    SELECT %s, number * {most}, json_group_array(id)
    FROM (SELECT r.id AS id, (row_number() OVER (ORDER BY r.id) - 1) / {most} AS number
        FROM {table} r WHERE {where}) AS found
    GROUP BY number
"""
_REFUSED = Table(RefusedRow, "id")
_GONE = UnknownRecipient("The recipient was deleted after the batch began.", field="to.recipient")


class _Stopped(Exception):
    """The batch was paused or cancelled meanwhile: nothing of this chunk is kept."""


def begin(
    batch: Batch, audience: Audience, fields: dict[str, Any], fills: Mapping[str, Any]
) -> None:
    """Write down who is in the audience now, once for each batch."""
    with transaction.atomic():
        moment = clock.now()
        row, created = Expansion.objects.get_or_create(
            batch=batch,
            defaults={
                "audience": audience.name,
                "filter": audience.filter,
                "fields": fields,
                "variables": dict(fills),
                "matched": 0,
                "frozen_at": moment,
            },
        )
        if not created:
            return
        row.matched = _freeze(row, audience)
        if not row.matched:
            row.finished_at, row.fields = moment, {}
            Batch.objects.filter(pk=batch.pk).update(closed_at=moment)
        row.save()


def work() -> tuple[Work, ...]:
    """Say where it shows that there are rows to write, or that there are none any more."""
    return Rows(ExpansionChunk.objects.all()), Rows(_cancelled())


def tick() -> float:
    """Write the rows of one chunk; return the seconds until the next round is wanted."""
    _end_cancelled()
    with transaction.atomic():
        key = _lock_chunk()
        if key is None:
            return IDLE
        quarantine.work_off(
            LOOP, ExpansionChunk.objects.select_related("expansion__batch"), [key], _expand
        )
    return BUSY


def expand_here(batch: Batch) -> None:
    """Write all rows of a batch in this process, where no scheduler runs."""
    for chunk in ExpansionChunk.objects.filter(expansion=batch.pk).order_by("first"):
        _expand(chunk)


def _freeze(row: Expansion, audience: Audience) -> int:
    """Write the chunks by one statement, and return how many recipients they have."""
    where = saved.condition(audience.filter, audience.world)
    is_postgres = connection.vendor == "postgresql"
    chunks = _SLICED if is_postgres else _GROUPED
    with saved.searching():
        dialect.count_of(
            f"INSERT INTO {_CHUNKS} (expansion_id, first, members)"
            f" {chunks.format(table=sql.TABLE, where=where.text, most=CHUNK)}",
            [dialect.write(row.pk), *where.parameters],
        )
    length = "jsonb" if is_postgres else "json"
    found = dialect.all_of(
        f"SELECT COALESCE(SUM({length}_array_length(members)), 0) FROM {_CHUNKS}"  # noqa: S608 -- our own words and placeholders
        " WHERE expansion_id = %s",
        [dialect.write(row.pk)],
    )
    return int(found[0][0])


def _lock_chunk() -> int | None:
    """Lock a chunk that nobody else has, of the batch that is least far, and return its key."""
    chunks = ExpansionChunk.objects.filter(expansion__batch__state=Batch.State.ACTIVE)
    chunks = quarantine.passing_over(chunks, LOOP).order_by("first", "pk")
    if connection.features.has_select_for_update_skip_locked:
        chunks = chunks.select_for_update(skip_locked=True, of=("self",))
    return chunks.values_list("pk", flat=True).first()


def _expand(chunk: ExpansionChunk) -> None:
    """Write the rows of a chunk, all or, where the batch was stopped meanwhile, none."""
    try:
        with transaction.atomic():
            if ExpansionChunk.objects.filter(pk=chunk.pk).delete()[0]:
                _write(chunk)
    except _Stopped:
        return


def _write(chunk: ExpansionChunk) -> None:
    row, batch = chunk.expansion, chunk.expansion.batch
    if row.finished_at is not None:
        return
    common = dict(requests.prepared(row.fields))
    if batch.project != DEFAULT_PROJECT:
        common["project"] = batch.project
    if batch.test:
        common["test"] = True
    found = variables.members(chunk.members, row.variables)
    asked = [
        Asked(variables.row_of(person, common, row.variables), common, row_id=_id_of(row, key))
        for key, person in found.items()
    ]
    answers = iter(acceptance.accept_many(asked, batch=batch))
    in_order = [next(answers) if key in found else Answer(error=_GONE) for key in chunk.members]
    _count(batch.pk, chunk.first, in_order)


def _id_of(row: Expansion, recipient: int) -> UUID:
    """Return the id of a recipient's row in a batch: the same whenever it is asked for.

    A UUID of version 7 (RFC 9562): the batch's moment, so that its rows land together, then
    recipient and batch in place of random bits.
    """
    milliseconds = int(row.frozen_at.timestamp() * 1000) & (1 << 48) - 1
    place = recipient & (1 << 42) - 1
    digest = int.from_bytes(blake2b(row.pk.bytes, digest_size=4).digest())
    high = milliseconds << 16 | 0x7000 | place >> 30
    low = 0b10 << 62 | (place & (1 << 30) - 1) << 32 | digest
    return UUID(int=high << 64 | low)


def _count(key: UUID, first: int, answers: Sequence[Answer]) -> None:
    """Count what became of a chunk, and end the batch with its last one.

    Raises ``_Stopped`` if the batch was paused or cancelled: once that was answered, no row of it
    is added. The batch's row is locked until the commit, which follows at once.
    """
    batch = Batch.objects.select_for_update(**_no_key()).get(pk=key)
    if batch.state != Batch.State.ACTIVE:
        raise _Stopped
    refused = [
        _refused_row(batch, first + number, answer.error)
        for number, answer in enumerate(answers)
        if answer.error is not None
    ]
    created = sum(answer.created for answer in answers)
    batch.accepted += created
    batch.refused += len(refused)
    batch.duplicates += len(answers) - created - len(refused)
    names = ("line", "field", "error", "detail")
    batch.errors += [
        {"index": row["place"], **{name: row[name] for name in names}}
        for row in refused[: max(ERRORS_KEPT - len(batch.errors), 0)]
    ]
    _REFUSED.insert(refused)
    row = Expansion.objects.get(pk=key)
    for reason in filter(None, map(_reason_of, answers)):
        known = reason in row.reasons or len(row.reasons) < REASONS_KEPT
        name = reason if known else OTHER
        row.reasons[name] = row.reasons.get(name, 0) + 1
    # One that another scheduler has in hand is there until that commits.
    if not row.chunks.exists():
        row.finished_at = batch.closed_at = clock.now()
        row.fields = {}
    row.save(update_fields=["reasons", "finished_at", "fields"])
    batch.save(update_fields=["accepted", "refused", "duplicates", "errors", "closed_at"])


def _no_key() -> dict[str, Any]:
    """Return what a lock needs beside which rows may refer to the batch, where there is such."""
    return {"no_key": True} if connection.features.has_select_for_no_key_update else {}


def _reason_of(answer: Answer) -> str:
    """Return why nothing goes to a recipient; empty where something does."""
    if answer.error is not None:
        return type(answer.error).__name__
    ended = answer.row.get("status") in (Status.SUPPRESSED, Status.EXPIRED)
    return str(answer.row["reason"]) if ended and answer.created else ""


def _refused_row(batch: Batch, place: int, error: InvalidNotification) -> Row:
    return {
        "batch_id": batch.pk,
        "place": place,
        "line": None,
        "field": printable(error.field)[:255],
        "error": type(error).__name__,
        "detail": printable(str(error)),
    }


def _cancelled() -> "QuerySet[Expansion]":
    return Expansion.objects.filter(finished_at__isnull=True, batch__state=Batch.State.CANCELLED)


def _end_cancelled() -> None:
    """End the expansions of batches that were cancelled."""
    for key in list(_cancelled().values_list("pk", flat=True)[:10]):
        with transaction.atomic():
            # Chunks before the batch, as whoever writes one locks them.
            ExpansionChunk.objects.filter(expansion=key).delete()
            now = clock.now()
            Expansion.objects.filter(pk=key).update(finished_at=now, fields={})
            Batch.objects.filter(pk=key).update(closed_at=now)
