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
from typing import Any
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
    *(
        OSError,
        EOFError,
        RuntimeError,
        NotImplementedError,
        OverflowError,
        zlib.error,
        struct.error,
    ),
)
"""What a file raises that is no workbook, or a broken one."""


def csv_of(content: bytes, most_rows: int) -> str:
    """Return the first visible sheet as a CSV, a line for each of its rows.

    Raises ``UnreadableFile`` for what is no workbook, is too large, or has cells without a value
    that one could send, which it names.
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
        has_formulas = _check_parts(content)
        return _written(_rows(content, most_rows, has_formulas=has_formulas))
    except BROKEN as error:
        raise UnreadableFile(f"It cannot be read ({type(error).__name__}).") from None


def _check_parts(content: bytes) -> bool:
    """Refuse what would unpack to too much; return whether a sheet has formulas."""
    tags, has_formulas = 0, False
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
                raise UnreadableFile("It unpacks to too much: split it, or save it as a CSV.")
            if DECLARATION.search(text):
                raise UnreadableFile("It declares a document type, as no spreadsheet program does.")
            has_formulas |= b"<f>" in text or b"<f " in text or b"<f/" in text
    return has_formulas


def _rows(content: bytes, most_rows: int, *, has_formulas: bool) -> Iterator[list[str]]:
    """Return the cells of each row as text, without empty ones at its end."""
    values = _cells(content, data_only=True)
    formulas = _cells(content, data_only=False) if has_formulas else None
    problems: list[str] = []
    filled = 0
    for number, row in enumerate(values, 1):
        behind = next(formulas, ()) if formulas is not None else ()
        problems += _problems(number, row, behind)
        cells = [cell_text.text_of(cell.value, cell.number_format) for cell in row]
        while cells and not cells[-1].strip():
            cells.pop()
        if len(cells) > MOST_COLUMNS:
            raise UnreadableFile(f"Line {number}: more than {MOST_COLUMNS} columns.")
        filled += bool(cells)
        if filled > most_rows + 1:
            raise UnreadableFile(f"It has more than {most_rows:,} rows.")
        yield cells
    if problems:
        more = (
            f" And {len(problems) - MOST_PROBLEMS} more." if len(problems) > MOST_PROBLEMS else ""
        )
        raise UnreadableFile(" ".join(problems[:MOST_PROBLEMS]) + more)


def _cells(content: bytes, *, data_only: bool) -> Iterator[tuple[Any, ...]]:
    try:
        import openpyxl  # noqa: PLC0415 -- of the extra [xlsx], and time that few processes need
    except ImportError:
        raise UnreadableFile(
            "This installation reads no workbooks (its extra xlsx is missing): save it as a CSV."
        ) from None

    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=data_only)
    sheet = next((one for one in book.worksheets if one.sheet_state == "visible"), None)
    if sheet is None:
        raise UnreadableFile("It has no sheet.")
    sheet.reset_dimensions()  # what the file says of its size may not be true
    yield from sheet.iter_rows(max_col=MOST_COLUMNS + 1)


def _problems(number: int, row: Iterable[Any], behind: Iterable[Any]) -> Iterator[str]:
    """Name the cells of a row that show an error, or a formula of which no value is stored."""
    for cell in row:
        if cell.data_type == "e":
            yield f"Line {number}, cell {cell.coordinate}: {cell.value} is an error of the sheet."
    for cell, formula in zip(row, behind, strict=False):
        if cell.value is None and formula.data_type == "f":
            yield (
                f"Line {number}, cell {formula.coordinate}: no value of its formula is stored; "
                "open the workbook, save it, and choose it again."
            )


def _written(rows: Iterable[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().rstrip("\n") + "\n"
