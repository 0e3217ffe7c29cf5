"""The rows of a CSV of recipients: saved each for itself, a thousand in a transaction."""

from collections.abc import Callable, Iterable, Iterator, Mapping
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
    """What became of the rows of a file; ``errors`` has all that is wrong with the refused ones.

    ``attributes`` are the columns that were taken as attributes.
    """

    created: int = 0
    changed: int = 0
    refused: int = 0
    blank: int = 0
    attributes: list[str] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the counts, the columns that are attributes, and the first of the errors."""
        counts = {name: getattr(self, name) for name in ("created", "changed", "refused", "blank")}
        return {**counts, "attributes": self.attributes, "errors": self.errors}


def save(
    sheet: csv_rows.Sheet, world: World, told: Callable[[int], None] = lambda _: None
) -> Imported:
    """Save the rows of a file; ``told`` gets the number of rows of each transaction."""
    report = Imported(attributes=attributes(sheet.header))
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
    saved = iter(directory.save_many((_given(row.cells) for row in fine), world=world))
    for (number, row), error in zip(chunk, refused, strict=True):
        yield number, row, next(saved) if error is None else Saved(error=error)


def _refusal(row: csv_rows.Row) -> InvalidNotification | None:
    """Return what is wrong with a row before it is saved: all of it, if its cells are at fault."""
    if row.problem:
        return MalformedRow(row.problem, field="row")
    faults = _faults(row.cells)
    if not faults:
        return None
    at_fault = {fault.field for fault in faults}
    try:
        directory.check(_given({n: cell for n, cell in row.cells.items() if n not in at_fault}))
    except InvalidNotification as error:
        faults += [error.with_traceback(None), *error.others]
    first, *first.others = faults
    return first


def _faults(cells: Mapping[str, str]) -> list[InvalidNotification]:
    """Return what is wrong with cells that only a CSV has."""
    faults: list[InvalidNotification] = []
    if cells.get("verified", "").lower() not in _VERIFIED:
        faults.append(InvalidField("It must be yes or no.", field="verified"))
    filled = set(attributes(name for name, cell in cells.items() if cell))
    for name in sorted(filled):
        if around := next((outer for outer in _around(name) if outer in filled), None):
            problem = f"The column {shown(name)} is inside {around}, which has a value of its own."
            faults.append(InvalidField(problem, field=name))
    return faults


def attributes(columns: Iterable[str]) -> list[str]:
    """Return the columns that are read as attributes, sorted: all that have no field's name."""
    return sorted(set(columns) - {csv_rows.ID, *FIELDS})


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


def _given(row: Mapping[str, str]) -> dict[str, Any]:
    """Return what the cells of a row, none of which ``_faults`` names, say of a recipient."""
    cells = {name: cell for name, cell in row.items() if cell}
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
