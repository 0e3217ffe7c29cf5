"""The rows of a CSV of recipients: saved each for itself, a thousand in a transaction."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from notifications.api import csv_rows
from notifications.core.errors import InvalidField, InvalidNotification, MalformedRow
from notifications.core.text import shown
from notifications.core.world import World
from notifications.models.recipient import ADDRESSED
from notifications.recipients import directory
from notifications.recipients.directory import Saved

CHUNK = 1000  # rows of a CSV that one transaction saves
ERRORS_SHOWN = 1000
SEPARATOR = "|"  # of several addresses in one cell
_CSV_COLUMNS = ("locale", "timezone", "country")
FIELDS = ("verified", *_CSV_COLUMNS, *ADDRESSED)
_VERIFIED = {
    **dict.fromkeys(("yes", "true", "1"), True),
    **dict.fromkeys(("no", "false", "0", ""), False),
}


@dataclass(slots=True)
class Imported:
    """What became of the rows of a file; ``errors`` has all that is wrong with the refused ones."""

    created: int = 0
    changed: int = 0
    refused: int = 0
    blank: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the counts, and the first of the errors."""
        counts = {name: getattr(self, name) for name in ("created", "changed", "refused", "blank")}
        return {**counts, "errors": self.errors}


def save(
    sheet: csv_rows.Sheet, world: World, told: Callable[[int], None] = lambda _: None
) -> Imported:
    """Save the rows of a file; ``told`` gets the number of rows of each transaction."""
    report = Imported()
    rows = enumerate(sheet.rows(), 1)
    while chunk := list(islice(rows, CHUNK)):
        for number, row, saved in _save(chunk, world):
            if saved.error is None:
                report.created += saved.created
                report.changed += not saved.created
                continue
            report.refused += 1
            if len(report.errors) < ERRORS_SHOWN:
                faults = (saved.error, *saved.error.others)
                report.errors += [_told(number, row.line, fault) for fault in faults]
        told(len(chunk))
    report.blank = sheet.blank
    del report.errors[ERRORS_SHOWN:]
    return report


def _save(
    chunk: list[tuple[int, csv_rows.Row]], world: World
) -> Iterator[tuple[int, csv_rows.Row, Saved]]:
    refused = [_refusal(row) for _, row in chunk]
    fine = [row for (_, row), error in zip(chunk, refused, strict=True) if error is None]
    saved = iter(directory.save_many(map(_given, fine), world=world))
    for (number, row), error in zip(chunk, refused, strict=True):
        yield number, row, next(saved) if error is None else Saved(error=error)


def _refusal(row: csv_rows.Row) -> InvalidNotification | None:
    """Return what is wrong with a row that says nothing of a recipient that could be read."""
    if row.problem:
        return MalformedRow(row.problem, field="row")
    if row.cells.get("verified", "").lower() not in _VERIFIED:
        return InvalidField("It must be yes or no.", field="verified")
    filled = {name for name, cell in row.cells.items() if cell} - {csv_rows.ID, *FIELDS}
    for name in sorted(filled):
        if around := next((outer for outer in _around(name) if outer in filled), None):
            return InvalidField(
                f"The column {shown(name)} is inside {around}, which has a value of its own.",
                field=name,
            )
    return None


def _path(column: str) -> list[str]:
    """Return the keys that lead to an attribute: ``orders.count`` is ``count`` in ``orders``.

    A name with nothing before or after a dot is one key.
    """
    keys = column.split(".")
    return keys if all(keys) else [column]


def _around(column: str) -> list[str]:
    """Return the names of the objects that an attribute is in."""
    path = _path(column)
    return [".".join(path[:depth]) for depth in range(1, len(path))]


def _attributes(cells: Mapping[str, str]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for column, cell in cells.items():
        place = attributes
        *outer, last = _path(column)
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = cell
    return attributes


def _given(row: csv_rows.Row) -> dict[str, Any]:
    """Return what a row of a CSV says of a recipient."""
    cells = {name: cell for name, cell in row.cells.items() if cell}
    verified = _VERIFIED[cells.pop("verified", "").lower()]
    given: dict[str, Any] = {"id": cells.pop(csv_rows.ID, "")}
    addresses = {
        channel: [
            {"address": address.strip(), "verified": verified}
            for address in cells.pop(channel).split(SEPARATOR)
        ]
        for channel in ADDRESSED
        if channel in cells
    }
    if addresses:
        given["addresses"] = addresses
    given |= {name: cells.pop(name) for name in _CSV_COLUMNS if name in cells}
    return {**given, "attributes": _attributes(cells)} if cells else given


def _told(number: int, line: int, error: InvalidNotification) -> dict[str, Any]:
    return {
        "row": number,
        "line": line,
        "field": error.field,
        "error": type(error).__name__,
        "detail": str(error),
    }
