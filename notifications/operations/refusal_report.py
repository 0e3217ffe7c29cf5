"""The report of a batch's refused rows: all of them, written as it is read."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

from notifications.models import RefusedRow

COLUMNS = ("row", "line", "field", "error", "detail")
_AT_ONCE = 2000  # rows that are read from the database, and written, together
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


def as_csv(batch: UUID, shown: Callable[[str], str] = str) -> Iterator[str]:
    """Write it as CSV, a part at a time; no cell of it begins a formula.

    ``shown`` gives of each row's detail what the reader may see.
    """
    yield _csv([COLUMNS])
    for rows in _parts(batch):
        yield _csv([[*map(_plain, row[:-1]), _plain(shown(str(row[-1])))] for row in rows])


def as_json_lines(batch: UUID) -> Iterator[str]:
    """Write it as one JSON object a line, a part at a time."""
    for rows in _parts(batch):
        lines = (json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in rows)
        yield "".join(f"{line}\n" for line in lines)


def _parts(batch: UUID) -> Iterator[list[tuple[object, ...]]]:
    """Read it in order; each part is a query of its own, so that no transaction stays open."""
    last = -1
    while True:
        rows = RefusedRow.objects.filter(batch=batch, place__gt=last).order_by("place")
        found = list(rows.values_list("place", "line", "field", "error", "detail")[:_AT_ONCE])
        if not found:
            return
        last = found[-1][0]
        yield [(place + 1, *more) for place, *more in found]


def _csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _plain(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
