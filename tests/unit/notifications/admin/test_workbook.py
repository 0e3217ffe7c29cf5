"""An Excel workbook is read as it looks, bounded in what it may unpack to."""

import io
import sys
import zipfile
from datetime import date, datetime, time, timedelta
from typing import Any

import openpyxl
import pytest

from notifications.admin import cell_text, workbook
from notifications.api.csv_rows import UnreadableFile

AT = datetime(2026, 3, 5, 14, 7)  # noqa: DTZ001 -- a cell has no zone


@pytest.mark.parametrize(
    ("value", "number_format", "seen"),
    [
        *((43664123, "General", "43664123"), (3.0, "General", "3"), (0.1 + 0.2, "General", "0.3")),
        *((436641234567, "General", "436641234567"), (True, "General", "TRUE"), (None, "0", "")),
        *((12.5, "0.00", "12.50"), (1234.5, "#,##0.00", "1,234.50"), (0.125, "0%", "13%")),
        *((7, "00000", "00007"), (12.5, '#,##0.00 "€"', "12.50 €"), (1.5, "0.##", "1.5")),
        *((12.5, "[$€-407] #,##0.00", "€ 12.50"), (5, "[Red]0.0", "5.0"), (5, "[>3]0.0", "5")),
        *((-3, "0;(0)", "(3)"), (-3.5, "0.0", "-3.5"), (0, '0;-0;"free"', "free")),
        *((1234567, "#,##0,", "1,235"), (0, "#", ""), (1000, "#,###", "1,000")),
        *(
            (4366412, "00 000 0000", "00 436 6412"),
            (1234567890, "(###) ###-####", "(123) 456-7890"),
        ),
        # Formats that show the plain number (docs/operating.md).
        *((5, ";;;", "5"), (1e30, "0.00", "1" + "0" * 30), (float("inf"), "0", "Infinity")),
        *((1234, "0.00E+00", "1234"), (0.5, "# ?/?", "0.5"), (7, "0" * 1000, "7")),
        *((AT, "dd.mm.yyyy", "05.03.2026"), (AT, "yyyy-mm-dd hh:mm", "2026-03-05 14:07")),
        *((AT, "d/m/yy h:mm AM/PM", "5/3/26 2:07 PM"), (AT, "[$-407]dd.mm.yyyy", "05.03.2026")),
        # What Excel leaves to the viewer's computer.
        *((AT, "mm-dd-yy", "2026-03-05 14:07"), (AT, "d mmmm yyyy", "2026-03-05 14:07")),
        *((date(2026, 3, 5), "General", "2026-03-05"), (time(9, 5), "hh:mm", "09:05")),
        *((time(9, 5, 7), "mm:ss", "05:07"), (timedelta(hours=30, minutes=5), "[h]:mm", "30:05")),
    ],
)
def test_a_cell_is_read_as_it_looks(value: Any, number_format: str, seen: str) -> None:
    assert cell_text.text_of(value, number_format) == seen


def book(
    *rows: list[Any],
    values: dict[str, Any] | None = None,
    formats: dict[str, str] | None = None,
    hidden: bool = False,
) -> bytes:
    made = openpyxl.Workbook()
    sheet = made.active
    if hidden:
        sheet.append(["not", "this"])
        sheet.sheet_state = "hidden"
        sheet = made.create_sheet()
    for row in rows:
        sheet.append(row)
    for cell, value in (values or {}).items():
        sheet[cell] = value
    for cell, number_format in (formats or {}).items():
        sheet[cell].number_format = number_format
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def with_sheet(rows: bytes) -> bytes:
    """Return a workbook whose sheet has these rows, as XML."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book(["a"]))) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            if name == "xl/worksheets/sheet1.xml":
                begin, end = part.index(b"<sheetData>"), part.index(b"</sheetData>")
                part = part[: begin + len(b"<sheetData>")] + rows + part[end:]
            new.writestr(name, part)
    return out.getvalue()


def test_the_first_visible_sheet_becomes_a_csv_with_a_line_for_each_row() -> None:
    rows: tuple[list[Any], ...] = (
        ["recipient", "code", "sum"],
        [436641234567, "0047", 12.5],
        [],
        ["+43", 'a,"b"'],
    )
    content = book(*rows, formats={"C2": "0.00"}, hidden=True)
    assert workbook.csv_of(content, 3).splitlines() == [
        "recipient,code,sum",
        "436641234567,0047,12.50",
        "",
        '+43,"a,""b"""',
    ]
    with pytest.raises(UnreadableFile, match="more than 2 rows: row 4 is filled"):
        workbook.csv_of(content, 2)


@pytest.mark.parametrize("corner", ["A1048576", "XFD1048576"])
def test_rows_are_bounded_by_their_numbers_and_blank_ones_at_the_end_are_none(corner: str) -> None:
    def with_corner(value: Any) -> bytes:
        return book(["recipient"], ["ada"], values={corner: value}, formats={corner: "0.00"})

    with pytest.raises(UnreadableFile, match="more than 10,000 rows: row 1,048,576 is filled"):
        workbook.csv_of(with_corner("far"), 10_000)
    assert workbook.csv_of(with_corner(None), 10_000) == "recipient\nada\n"
    assert workbook.csv_of(with_corner(" "), 10_000) == "recipient\nada\n"


@pytest.mark.parametrize("cell", ["GS2", "IW2", "ALM2", "XFD2"])
def test_a_value_beyond_the_columns_that_are_read_is_named(cell: str) -> None:
    content = book(["recipient"], ["ada"], values={cell: "far"})
    why = f"Line 2, cell {cell}: column {cell[:-1]} is beyond the 200 columns that are read"
    with pytest.raises(UnreadableFile, match=why):
        workbook.csv_of(content, 10)
    assert workbook.csv_of(book(["a"], values={cell: None}, formats={cell: "0"}), 10) == "a\n"


def test_a_number_that_is_no_date_is_named_as_one() -> None:
    content = book(["when"], [45000], [99999999], formats={"A2": "yyyy-mm-dd", "A3": "yyyy-mm-dd"})
    with pytest.raises(UnreadableFile) as raised:
        workbook.csv_of(content, 10)
    assert str(raised.value) == "Line 3, cell A3: the number 99999999 is too large for a date."


def test_a_formula_that_comes_to_empty_text_has_a_value() -> None:
    content = with_sheet(
        b'<row r="1"><c r="A1" t="str"><v>recipient</v></c></row><row r="2">'
        b'<c r="A2" t="str"><f>"ada"</f><v>ada</v></c><c r="B2" t="str"><f>""</f><v></v></c></row>'
    )
    assert workbook.csv_of(content, 10) == "recipient\nada\n"


def test_a_file_that_is_broken_inside_says_what_to_do() -> None:
    for rows in (
        b'<row r="1"><c r="A1" t="s"><v>7</v></c></row>',  # of no shared text
        b'<row r="2"><c r="A2"><v>1</v></c></row><row r="1"><c r="A1"><v>2</v></c></row>',
    ):
        with pytest.raises(UnreadableFile, match="cannot be read: save it anew") as raised:
            workbook.csv_of(with_sheet(rows), 10)
        assert "Error" not in str(raised.value)


def test_errors_and_formulas_without_a_value_are_named_by_line() -> None:
    # openpyxl stores formulas without what they come to, as other programs than Excel do.
    content = book(["recipient"], ["ada"], ["=A2"], ["#N/A"])
    with pytest.raises(UnreadableFile) as raised:
        workbook.csv_of(content, 10)
    assert "Line 3, cell A3: no value of its formula is stored" in str(raised.value)
    assert "Line 4, cell A4: #N/A is an error of the sheet" in str(raised.value)


def packed(**parts: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(f"xl/{name}.xml", content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"recipient\nada\n", "not an Excel workbook"),
        (workbook.OLD_OR_LOCKED + b"..", "has a password"),
        (b"PK\x03\x04broken", "cannot be read"),
        (book(["a"])[:-200], "cannot be read"),
        (packed(other=b"<a/>"), "cannot be read"),
        (b"PK\x03\x04" + bytes(workbook.MOST_BYTES), "larger than"),
        (packed(sheet=b" " * (workbook.MOST_UNPACKED + 1)), "too large unpacked"),
        (packed(sheet=b"<c/>" * (workbook.MOST_TAGS + 1)), "too large unpacked"),
        (
            packed(**{f"part{n}": b"" for n in range(workbook.MOST_PARTS + 1)}),
            "more than 500 parts",
        ),
        (packed(sheet=b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'), "document type"),
        (packed(sheet='<!DOCTYPE a [<!ENTITY b "c">]>'.encode("utf-16")), "document type"),
        (book(["a"] * (workbook.MOST_COLUMNS + 1)), "beyond the 200 columns"),
    ],
)
def test_what_cannot_or_may_not_be_read_is_refused_in_words(content: bytes, why: str) -> None:
    with pytest.raises(UnreadableFile, match=why):
        workbook.csv_of(content, 10)


def test_without_the_extra_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    content = book(["recipient"])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UnreadableFile, match="extra xlsx is missing"):
        workbook.csv_of(content, 10)
