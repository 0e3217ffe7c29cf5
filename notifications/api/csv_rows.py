"""The rows of a CSV as spreadsheet programs write it (RFC 4180, and what they make of it).

A row that cannot be read costs itself: it is returned with what is wrong with it.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from notifications.api.charsets import UTF_8
from notifications.channels import invisible

RECIPIENT = "recipient"
TO = "to"  # a stored recipient
ID = "id"  # of a stored recipient that is imported
SEPARATORS = (",", ";", "\t")
# A quotation mark that is never closed has the reader search for its end, for each row that
# has one. What it may search in all, as a multiple of the file's length.
_SEARCHES = 4
_UNDECODED = re.compile("[\udc80-\udcff]")  # what ``surrogateescape`` makes of a byte
_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
_BLANKS = " \t\r\n\f\v\N{NO-BREAK SPACE}\N{ZERO WIDTH SPACE}\N{ZERO WIDTH NO-BREAK SPACE}"


class UnreadableFile(Exception):
    """A file of which no row can be read; the message says which line, and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is not blank, and the line that it ends on.

    It has either ``cells``, by the name of their column and without blanks around them, or a
    ``problem``, which says why there are none.
    """

    line: int
    cells: dict[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(slots=True)
class Sheet:
    """A CSV with a header. ``blank`` counts the blank rows that ``rows`` has passed over so far."""

    header: list[str]
    _records: Iterator["_Record"]
    _codec: str = ""
    blank: int = 0

    def rows(self) -> Iterator[Row]:
        """Return the rows that are not blank, once.

        Raises ``UnreadableFile`` where too many quotation marks are never closed.
        """
        for record in self._records:
            if not record.problem and not any(record.cells):
                self.blank += 1
                continue
            yield self._row(record)

    def _row(self, record: "_Record") -> Row:
        if record.problem:
            return Row(record.line, problem=record.problem)
        width = len(self.header)
        cells = record.cells
        # A program that writes a separator at each line's end adds empty cells.
        if len(cells) < width or any(cells[width:]):
            return Row(
                record.line,
                problem=f"The row has {len(cells)} cells, and the first line has {width} columns.",
            )
        if any(map(_UNDECODED.search, cells)):
            return Row(record.line, problem=_not_in(self._codec))
        return Row(record.line, dict(zip(self.header, cells, strict=False)))


def read(
    body: bytes,
    codec: str = "",
    among: Collection[str] = (RECIPIENT, TO),
    fields: Collection[str] = (),
) -> Sheet:
    """Read a file by this codec; without one in UTF-8, or UTF-16 with or without a byte order mark.

    Commas, semicolons and tabs are told apart by the header, or by a first line like ``sep=;``.
    One column is named as one of ``among``. These and ``fields`` may be written in capitals, and
    are returned in small letters; every other name stays as it is. Raises ``UnreadableFile``
    where the header cannot be used.
    """
    lines = _Lines(_decoded(body, codec))
    records = _records(lines, _separator(lines, among))
    first = next(records, None)
    if first is None:
        raise UnreadableFile("The file is empty.")
    if first.problem:
        raise UnreadableFile(f"Line {first.line}: {first.problem}")
    return Sheet(_header(first, among, fields), records, codec)


def _not_in(codec: str) -> str:
    if codec in ("", UTF_8):
        return "The row is not in UTF-8. Save the sheet as “CSV UTF-8”."
    return f"The row is not in the charset that the request declares ({codec})."


def _decoded(body: bytes, codec: str) -> str:
    if codec not in ("", UTF_8):
        try:
            return body.decode(codec, "surrogateescape").removeprefix(_MARK)
        except UnicodeDecodeError:
            problem = f"It is not in the charset that the request declares ({codec})."
            raise UnreadableFile(problem) from None
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return body.decode("utf-16", "replace")
    # A header has letters of ASCII, whose other half is zero in UTF-16.
    if body[:1] == b"\0":
        return body.decode("utf-16-be", "replace")
    if body[1:2] == b"\0":
        return body.decode("utf-16-le", "replace")
    return body.decode("utf-8-sig", "surrogateescape")


class _Lines:
    """The lines of a text, to be read on from any of them."""

    def __init__(self, text: str) -> None:
        self._stream = io.StringIO(text, newline="")
        self.length = len(text)
        self.number = 0  # of the line that was read last

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline()
        if not line:
            raise StopIteration
        self.number += 1
        return line

    def place(self) -> tuple[int, int]:
        """Return where the next line begins, for ``go_back``."""
        return self._stream.tell(), self.number

    def go_back(self, place: tuple[int, int]) -> int:
        """Have that line be the next one; return how many characters are read again."""
        passed = self._stream.tell() - place[0]
        self._stream.seek(place[0])
        self.number = place[1]
        return passed


def _separator(lines: _Lines, among: Collection[str]) -> str:
    """Return what separates cells, and leave the header as the next line."""
    place = lines.place()
    for line in lines:
        if not line.strip():
            place = lines.place()
            continue
        declared = line.strip(" \r\n").strip('"')  # a tab may be what it declares
        if declared.lower().startswith("sep=") and len(declared) == len("sep=,"):
            return declared[-1]
        lines.go_back(place)
        columns = {mark: _cells(line, mark) for mark in SEPARATORS}
        return max(SEPARATORS, key=lambda mark: (_has(columns[mark], among), len(columns[mark])))
    return ","


def _has(columns: Collection[str], among: Collection[str]) -> bool:
    return any(name.casefold() in among for name in columns)


def _name(cell: str) -> str:
    """Return a column's name without hidden characters around it, in one form of its letters."""
    return unicodedata.normalize("NFC", invisible.trimmed(cell))


def _as_named(header: list[str], known: Collection[str]) -> list[str]:
    """Return the header with known columns in small letters, as ``Recipient`` may stand there."""
    return [name.casefold() if name.casefold() in known else name for name in header]


def _cells(line: str, separator: str) -> list[str]:
    try:
        return [_name(cell) for cell in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return []


def _header(record: "_Record", among: Collection[str], fields: Collection[str]) -> list[str]:
    header = _as_named([_name(cell) for cell in record.cells], {*among, *fields})
    while header and not header[-1]:
        header.pop()
    if not _has(header, among):
        raise UnreadableFile(
            f"Line {record.line} names the columns: {' or '.join(among)} is missing."
        )
    if "" in header:
        raise UnreadableFile(f"Line {record.line}: column {header.index('') + 1} has no name.")
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise UnreadableFile(f"Line {record.line}: two columns are named {twice[0]}.")
    return header


@dataclass(frozen=True, slots=True)
class _Record:
    line: int
    cells: list[str] = field(default_factory=list)
    problem: str = ""


def _records(lines: _Lines, separator: str) -> Iterator[_Record]:
    """Return the records of these lines; one that is broken ends with the line it begins on."""
    left_to_search = _SEARCHES * lines.length + csv.field_size_limit()
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    while True:
        place = lines.place()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            left_to_search -= lines.go_back(place)
            next(lines)
            if left_to_search < 0:
                raise UnreadableFile(
                    f"Line {lines.number}: too many quotation marks are opened and never closed."
                ) from None
            yield _Record(lines.number, problem=_explained(error))
        else:
            yield _Record(lines.number, [_typed(cell.strip(_BLANKS)) for cell in cells])


def _typed(cell: str) -> str:
    """Return what was typed into a cell that says ``="…"``: text, whatever it looks like."""
    if len(cell) > 2 and cell.startswith('="') and cell.endswith('"'):
        return cell[2:-1].replace('""', '"').strip(_BLANKS)
    return cell


def _explained(error: csv.Error) -> str:
    said = str(error)
    if "field limit" in said:
        return f"A cell has more than {csv.field_size_limit():,} characters."
    if "end of data" in said:
        return "A quotation mark opens a cell and is never closed."
    return "A quotation mark stands inside a cell in quotation marks. Write it twice."
