import pytest

from notifications.api.csv_rows import UnreadableFile, read


def rows(text: str | bytes) -> list[dict[str, str] | str]:
    """Return each row's cells, or its line and what is wrong with it."""
    body = text.encode() if isinstance(text, str) else text
    return [row.cells or f"{row.line}: {row.problem}" for row in read(body).rows()]


A, B = {"recipient": "a@x.example", "name": "Ada"}, {"recipient": "b@x.example", "name": "Bo"}


@pytest.mark.parametrize(
    "text",
    [
        "recipient,name\na@x.example,Ada\nb@x.example,Bo\n",
        "recipient;name\r\na@x.example;Ada\r\nb@x.example;Bo",
        "recipient\tname\ra@x.example\tAda\rb@x.example\tBo\r",
        "sep=;\nrecipient;name\na@x.example;Ada\nb@x.example;Bo\n",
        "sep=\t\nrecipient\tname\na@x.example\tAda\nb@x.example\tBo\n",
        '"sep=|"\nrecipient|name\na@x.example|Ada\nb@x.example|Bo\n',
        "Recipient;name\na@x.example;Ada\nb@x.example;Bo\n",
        "\u200fRECIPIENT\u200f,\u200ename\na@x.example,Ada\nb@x.example,Bo\n",
        'recipient,name\n"=""a@x.example""",="Ada"\nb@x.example,"=""Bo"""\n',
        "\ufeffrecipient,name\na@x.example,Ada\nb@x.example,Bo\n",
        "\n\nrecipient,name\n\na@x.example,Ada\n,\n  , \nb@x.example,Bo\n\n\n",
        "recipient,name,,\na@x.example,Ada,,\nb@x.example,Bo,,\n,,,\n",
        ' recipient , name\n a@x.example ,"Ada"\n\u00a0b@x.example,  "Bo" \n'.replace(
            '"Bo" ', '"Bo"'
        ),
        *(
            "recipient,name\na@x.example,Ada\nb@x.example,Bo\n".encode(encoding)
            for encoding in ("utf-16", "utf-16-le", "utf-16-be")
        ),
    ],
)
def test_what_spreadsheet_programs_write_reads_alike(text: str | bytes) -> None:
    assert rows(text) == [A, B]


def test_a_column_that_is_a_field_may_be_written_in_capitals() -> None:
    body = b"Recipient, Subject ,BODY,Name\na@x.example,S,B,Ada\n"
    [row] = read(body, fields={"subject", "body"}).rows()
    assert row.cells == {"recipient": "a@x.example", "subject": "S", "body": "B", "Name": "Ada"}


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("x@x.example", "3: The row has 1 cells, and the first line has 2 columns."),
        ("x@x.example,X,Y", "3: The row has 3 cells, and the first line has 2 columns."),
        ('x@x.example,"a "b" c"', "3: A quotation mark stands inside a cell"),
        ('x@x.example,"never closed', "3: A quotation mark opens a cell and is never closed."),
        (f"x@x.example,{'x' * 131_073}", "3: A cell has more than 131,072 characters."),
        (b"x@x.example,J\xf6rg", "3: The row is not in UTF-8."),
    ],
)
def test_a_row_that_cannot_be_read_costs_itself(bad: str | bytes, problem: str) -> None:
    line = bad if isinstance(bad, bytes) else bad.encode()
    body = b"recipient,name\na@x.example,Ada\n" + line + b"\nb@x.example,Bo\n"
    first, middle, last = rows(body)
    assert (first, last) == (A, B)
    assert isinstance(middle, str)
    assert middle.startswith(problem)


def test_a_cell_may_have_line_breaks_and_quotation_marks() -> None:
    text = 'recipient,name\na@x.example,"Ada\n""the"" first"\nb@x.example,Bo\n'
    assert rows(text) == [{**A, "name": 'Ada\n"the" first'}, B]
    assert [row.line for row in read(text.encode()).rows()] == [3, 4]


def test_a_columns_name_is_one_however_its_letters_are_composed() -> None:
    name = "Pr\u00e9nom"
    [row] = rows("recipient,Pre\u0301nom,Who\na@x.example,Zo\u0301,x\n")
    assert row == {"recipient": "a@x.example", name: "Zo\u0301", "Who": "x"}


def test_blank_rows_are_counted() -> None:
    sheet = read(b"recipient,name\n\na@x.example,Ada\n,\n")
    assert [row.cells for row in sheet.rows()] == [A]
    assert sheet.blank == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The file is empty."),
        ("\n \n", "The file is empty."),
        ("email,name\n", "Line 1 names the columns: recipient or to is missing."),
        ("\nrecipient,,name\n", "Line 2: column 2 has no name."),
        ("recipient,name,name\n", "Line 1: two columns are named name."),
        ('recipient,"name\n', "Line 1: A quotation mark opens a cell and is never closed."),
    ],
)
def test_a_file_that_is_refused_says_which_line_and_why(text: str, message: str) -> None:
    with pytest.raises(UnreadableFile) as refused:
        read(text.encode())
    assert str(refused.value) == message


def test_many_open_quotation_marks_cost_a_bounded_search() -> None:
    # Each line closes the cell that the line before has opened, and opens one more.
    text = "recipient,name\n" + 'x","y\n' * 100_000
    with pytest.raises(UnreadableFile, match="too many quotation marks"):
        rows(text)
