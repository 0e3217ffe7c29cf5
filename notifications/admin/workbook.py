"""Reads the first sheet of an Excel workbook (XLSX) as the CSV that it would be saved as.

A workbook is a ZIP of XML, so what it unpacks to is bounded before any of it is parsed. No formula
is calculated: the value counts that the program stored which saved the file.
"""

import csv
import io
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any, NamedTuple
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile, ZipFile

from notifications.admin import cell_text
from notifications.api.csv_rows import UnreadableFile

MOST_BYTES = 5_000_000
"""Of the file."""
MOST_UNPACKED = 16_000_000
"""Bytes of one part, unpacked."""
MOST_TAGS = 1_000_000
"""XML tags of all parts: a cell has two to four, and each takes some 100 bytes of memory."""
MOST_PARTS = 500
MOST_COLUMNS = 200
MOST_PROBLEMS = 5
DECLARATION = re.compile(rb"<\0?!\0?[dD]")
"""A document type, which may define entities; no spreadsheet program writes one."""
SIGNATURE = b"PK\x03\x04"
OLD_OR_LOCKED = b"\xd0\xcf\x11\xe0"
"""Of a file of Excel before 2007, and of a workbook with a password."""
BROKEN = (
    *(BadZipFile, ParseError, KeyError, ValueError, TypeError, IndexError, AttributeError),
    *(OSError, EOFError, RuntimeError, OverflowError, zlib.error, struct.error),
)
"""The exceptions that openpyxl raises for a file that is broken or is no workbook."""
FORMULA = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}f"
VALUE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}v"


class Cell(NamedTuple):
    """A cell as it looks, with its column's letters and number.

    ``problem`` says why its text cannot be sent; empty: it can.
    """

    letters: str
    column: int
    text: str
    problem: str


def csv_of(content: bytes, most_rows: int) -> str:
    """Return the first visible sheet as a CSV, a line for each of its rows to the last filled one.

    The first row names the columns, so ``most_rows`` more are read, with blank ones between them.
    Raises ``UnreadableFile`` for a file that is no workbook or is too large, and for cells without
    a value that can be sent, by their names.
    """
    if content.startswith(OLD_OR_LOCKED):
        raise UnreadableFile(
            "It is of an old Excel or has a password: save it as .xlsx without a password."
        )
    if not content.startswith(SIGNATURE):
        raise UnreadableFile("It is not an Excel workbook (.xlsx).")
    if len(content) > MOST_BYTES:
        raise UnreadableFile(f"It is larger than {MOST_BYTES:,} bytes.")
    try:
        _check_parts(content)
        return _as_csv(_lines(_rows(content), most_rows))
    except BROKEN:
        raise UnreadableFile(
            "It cannot be read: save it anew as .xlsx in a spreadsheet program, or as a CSV."
        ) from None


def _check_parts(content: bytes) -> None:
    """Refuse what would unpack to too much."""
    tags = 0
    with ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
        if len(parts) > MOST_PARTS:
            raise UnreadableFile(f"It has more than {MOST_PARTS} parts.")
        for part in parts:
            if not part.filename.lower().endswith((".xml", ".rels")):
                continue  # pictures and the like are not unpacked
            with archive.open(part) as stream:
                text = stream.read(MOST_UNPACKED + 1)
            tags += text.count(b"<")
            if len(text) > MOST_UNPACKED or tags > MOST_TAGS:
                raise UnreadableFile("It is too large unpacked: split it, or save it as a CSV.")
            if DECLARATION.search(text):
                raise UnreadableFile("It declares a document type, as no spreadsheet program does.")


def _lines(rows: Iterable[tuple[int, list[Cell]]], most_rows: int) -> Iterator[list[str]]:
    """Return the cells of each row as text, up to its last filled one and to the last filled row.

    The rows and cells that a file leaves out are put between those that it has.
    """
    problems: list[str] = []
    written = seen = 0
    for number, row in rows:
        if number <= seen:
            raise ValueError("rows out of order")
        seen = number
        problems += [
            f"Line {number}, cell {cell.letters}{number}: {cell.problem}"
            for cell in row
            if cell.problem
        ]
        filled = {cell.column: cell.text for cell in row if cell.text.strip()}
        if not filled:
            continue
        if number > most_rows + 1:
            raise UnreadableFile(
                f"It has more than {most_rows:,} rows: row {number:,} is filled. Split it, or "
                "delete blank rows."
            )
        yield from repeat([], number - written - 1)
        yield [filled.get(column, "") for column in range(1, min(max(filled), MOST_COLUMNS) + 1)]
        written = number
    if problems:
        more = (
            f" And {len(problems) - MOST_PROBLEMS} more." if len(problems) > MOST_PROBLEMS else ""
        )
        raise UnreadableFile(" ".join(problems[:MOST_PROBLEMS]) + more)


def _rows(content: bytes) -> Iterator[tuple[int, list[Cell]]]:
    """Return the rows of the first visible sheet by number, each with its cells that are not blank.

    Openpyxl's own rows are as wide as the last column and have all blank ones before the last: one
    cell in the last corner would cost a minute. So its parser is asked for what is there.
    """
    try:
        import openpyxl  # noqa: PLC0415 -- of the extra [xlsx], and time that few processes need
    except ImportError:
        raise UnreadableFile(
            "This installation reads no workbooks (its extra xlsx is missing): save it as a CSV."
        ) from None

    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    sheet = next(
        (worksheet for worksheet in book.worksheets if worksheet.sheet_state == "visible"), None
    )
    if sheet is None:
        raise UnreadableFile("It has no sheet.")
    with sheet._get_source() as source:  # noqa: SLF001 -- see above
        # Without the formats of dates, it leaves the number that is too large for one.
        parser = openpyxl.worksheet._reader.WorkSheetParser(  # noqa: SLF001 -- see above
            source,
            sheet._shared_strings,  # noqa: SLF001 -- see above
            data_only=True,
        )
        parse = parser.parse_cell
        parser.parse_cell = lambda element: (parse(element), _has_value(element))
        for number, cells in parser.parse():
            yield (
                number,
                [
                    _cell(openpyxl, sheet, read, has_value)
                    for read, has_value in cells
                    if read["value"] is not None or not has_value
                ],
            )


def _has_value(element: Any) -> bool:
    """Tell whether a cell has no formula, or what it comes to is stored, if only as empty text."""
    if element.find(FORMULA) is None:
        return True
    is_text = element.get("t") == "str" and element.find(VALUE) is not None
    return is_text or bool(element.findtext(VALUE))


def _cell(openpyxl: Any, sheet: Any, read: dict[str, Any], has_value: bool) -> Cell:  # noqa: FBT001 -- of one call
    """Return what the parser has read of a cell that has a value, or a formula without one."""
    book, style, column, value = sheet.parent, read["style_id"], read["column"], read["value"]
    number_format = openpyxl.cell.read_only.ReadOnlyCell(sheet, **read).number_format
    problem = ""
    if read["data_type"] == "n" and value is not None and style in book._date_formats:  # noqa: SLF001 -- see ``_rows``
        is_span = style in book._timedelta_formats  # noqa: SLF001 -- see ``_rows``
        try:
            value = openpyxl.utils.datetime.from_excel(value, book.epoch, timedelta=is_span)
        except (ValueError, OverflowError):
            value, problem = str(value), f"the number {value} is too large for a date."
    text = cell_text.text_of(value, number_format)
    letters = openpyxl.utils.get_column_letter(column)
    if read["data_type"] == "e":
        problem = f"{value} is an error of the sheet."
    elif not has_value:
        problem = (
            "no value of its formula is stored; open the workbook, save it, and choose it again."
        )
    elif column > MOST_COLUMNS and text.strip():
        problem = f"column {letters} is beyond the {MOST_COLUMNS} columns that are read."
    return Cell(letters, column, text, problem)


def _as_csv(rows: Iterable[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().rstrip("\n") + "\n"
