"""Many at once: accepted in chunks, as one batch, in constant memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Unpack
from uuid import UUID

from django.db import transaction
from rich.progress import MofNCompleteColumn, Progress

from notifications.core import errors as refusals
from notifications.core.errors import InvalidNotification
from notifications.core.text import printable
from notifications.core.world import DEFAULT_PROJECT
from notifications.db import clock
from notifications.db.bulk_insert import Row, Table
from notifications.models import Batch, Notification, RefusedRow
from notifications.submission import acceptance, projects, requests
from notifications.submission.building import Asked
from notifications.submission.fields import CommonFields
from notifications.submission.repeats import Item
from scheduling import watch

CHUNK = 5000  # rows per transaction
ERRORS_KEPT = 1000  # refused rows that are described at once; the batch's report has all

_REFUSED = Table(RefusedRow, "id")

Chunk = list[tuple[int, Item]]  # rows with their places, from 0


@dataclass(slots=True)
class Submitted:
    """What became of many: the batch that they are, and the first errors by their row's index.

    ``errors`` holds the first 1,000 of the ``refused``; ``batch.refused_rows`` has them all.
    """

    batch: Batch
    errors: dict[int, InvalidNotification] = field(default_factory=dict)

    @property
    def accepted(self) -> int:
        """How many rows were accepted."""
        return self.batch.accepted

    @property
    def duplicates(self) -> int:
        """How many rows had a key that was used before, for the same content."""
        return self.batch.duplicates

    @property
    def refused(self) -> int:
        """How many rows were refused."""
        return self.batch.refused

    @property
    def ids(self) -> list[UUID]:
        """The ids of what was accepted, in order, read from the database."""
        found = Notification.objects.filter(batch=self.batch).order_by("id")
        return list(found.values_list("id", flat=True))

    def read(self) -> None:
        """Read what the batch has come to, here or elsewhere."""
        self.batch.refresh_from_db()
        for error in self.batch.errors:
            self.errors.setdefault(error["index"], _as_raised(error))


class _Overtaken(Exception):
    """Another call has accepted this chunk of the same batch."""


def send_many(
    requested: Iterable[Item],
    *,
    name: str = "",
    batch: Batch | None = None,
    progress: bool = False,
    lines: Sequence[int] = (),
    blank: int = 0,
    **common: Unpack[CommonFields],
) -> Submitted:
    """Accept many notifications as one batch, and publish them as they are committed.

    ``common`` holds fields that all rows share, such as ``channel`` and ``template``; a row's
    own win, but for ``project``: a batch is of one, by default ``default``. A bad row is reported
    with its index and stops no other; so is one whose idempotency key was used for another
    content. One whose key was used for the same is a duplicate. Each chunk of 5,000 rows is a
    transaction of its own, so that what was accepted before an interruption stays accepted: with
    the ``batch`` that was interrupted, or that another call is accepting, the same rows again
    complete it, each once. ``progress`` shows a bar. ``lines`` names the line of each row in the
    file that it came from, for the report, and ``blank`` counts what was blank there.
    """
    if batch is None:
        project = projects.check(common.get("project", DEFAULT_PROJECT))
        test = common.get("test") is True
        batch = Batch.objects.create(name=name[:255], project=project, test=test)
    if batch.project != DEFAULT_PROJECT:
        common["project"] = batch.project
    submitted = Submitted(batch)
    submitted.read()
    if submitted.batch.closed_at is not None:
        return submitted
    shared = dict(requests.prepared(common))
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, disable=not progress) as bar:
        total = len(requested) if isinstance(requested, Sized) else None
        task = bar.add_task("accepting", total=total)
        for chunk in _chunks(enumerate(requested)):
            while missing := _missing(chunk, submitted.batch):
                _accept(missing, shared, submitted, lines)
            bar.advance(task, len(chunk))
    unclosed = Batch.objects.filter(pk=submitted.batch.pk, closed_at__isnull=True)
    unclosed.update(closed_at=clock.now(), blank=blank)
    submitted.read()
    return submitted


def _missing(chunk: Chunk, batch: Batch) -> Chunk:
    """Return the rows of a chunk that have no answer yet: rows are answered in their order."""
    answered = batch.accepted + batch.duplicates + batch.refused
    return [row for row in chunk if row[0] >= answered]


def _accept(
    chunk: Chunk, common: Mapping[str, Any], submitted: Submitted, lines: Sequence[int]
) -> None:
    """Accept rows, or read what another call has made of them meanwhile."""
    try:
        errors = watch.past_brief(partial(_write, chunk, common, submitted.batch, lines))
    except _Overtaken:
        submitted.read()
        return
    room = ERRORS_KEPT - len(submitted.errors)
    submitted.errors.update(islice(errors.items(), room))


def _write(
    chunk: Chunk, common: Mapping[str, Any], batch: Batch, lines: Sequence[int]
) -> dict[int, InvalidNotification]:
    """Accept rows and count them in one transaction; return what was refused, by index."""
    with transaction.atomic():
        answers = acceptance.accept_many(
            [Asked(fields, common) for _, fields in chunk], batch=batch
        )
        errors = {
            index: answer.error
            for (index, _), answer in zip(chunk, answers, strict=True)
            if answer.error is not None
        }
        accepted = sum(answer.created for answer in answers)
        duplicates = len(answers) - accepted - len(errors)
        refused = [_refused_row(batch, *error, lines) for error in errors.items()]
        counted = _count(batch, accepted, duplicates, refused)
        _REFUSED.insert(refused)
    for name, value in counted.items():
        setattr(batch, name, value)
    return errors


def _refused_row(batch: Batch, index: int, error: InvalidNotification, lines: Sequence[int]) -> Row:
    return {
        "batch_id": batch.pk,
        "place": index,
        "line": lines[index] if index < len(lines) else None,
        "field": printable(error.field)[:255],
        "error": type(error).__name__,
        "detail": printable(str(error)),
    }


def _as_raised(described: Mapping[str, Any]) -> InvalidNotification:
    kind: type[InvalidNotification] = getattr(refusals, described["error"], InvalidNotification)
    return kind(described["detail"], field=described["field"])


def _count(batch: Batch, accepted: int, duplicates: int, refused: Sequence[Row]) -> dict[str, Any]:
    """Add a chunk's figures to its batch's row, and return what that has then.

    The batch's own list describes the first refused rows. Raises ``_Overtaken`` if the figures are
    not what this call knows: the transaction of another call that counted the same rows has won.
    """
    known = {name: getattr(batch, name) for name in ("accepted", "duplicates", "refused")}
    names = ("line", "field", "error", "detail")
    errors = [
        {"index": row["place"], **{name: row[name] for name in names}}
        for row in refused[: ERRORS_KEPT - len(batch.errors)]
    ]
    counted = {
        "accepted": batch.accepted + accepted,
        "duplicates": batch.duplicates + duplicates,
        "refused": batch.refused + len(refused),
        "errors": batch.errors + errors,
    }
    if not Batch.objects.filter(pk=batch.pk, **known).update(**counted):
        raise _Overtaken
    return counted


def _chunks(numbered: Iterator[tuple[int, Item]]) -> Iterator[Chunk]:
    while chunk := list(islice(numbered, CHUNK)):
        yield chunk
