"""The two forms of a batch: a JSON list, and a CSV whose header names fields and variables."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest

from notifications import conf
from notifications.api.bodies import read_json
from notifications.api.problems import Problem

# Columns that are fields of a notification; every other one is a variable of the template.
FIELDS = ("recipient", "idempotency_key", "reference", "locale")


@dataclass(slots=True)
class Rows:
    """What a batch asks for; ``lines`` are those of a CSV on which its rows end."""

    fields: list[dict[str, Any]]
    lines: list[int] = field(default_factory=list)

    def notifications(self, *, key: str, test: bool) -> Iterator[dict[str, Any]]:
        """Give each row; ``key`` makes one idempotent by its place, unless it has its own."""
        for number, fields in enumerate(self.fields, 1):
            if test:
                fields["test"] = True
            if key:
                fields.setdefault("idempotency_key", f"{key}:{number}")
            yield fields


def read_rows(request: HttpRequest) -> Rows:
    """Read a batch's body. Raises ``Problem``: 400, 413, 415 or 422."""
    readers = {"application/json": _json, "text/csv": _csv}
    read = readers.get(request.content_type or "")
    if read is None:
        raise Problem("unsupported-media-type", hint=f"Send Content-Type: {' or '.join(readers)}.")
    longest = conf.get("API_BATCH_BYTES")
    body = request.read(longest + 1)
    if len(body) > longest:
        raise Problem("body-too-large", f"A batch has at most {longest} bytes.")
    rows = read(body)
    if not rows.fields:
        raise Problem("invalid-request", "There is no row in it.")
    return rows


def _json(body: bytes) -> Rows:
    fields = read_json(body)
    if not isinstance(fields, list):
        raise Problem("invalid-request", "The body is no list.", hint="Send a list of objects.")
    _refuse_too_many(len(fields))
    for number, row in enumerate(fields, 1):
        if not isinstance(row, dict):
            raise Problem("invalid-request", f"Row {number} is no object.", field=str(number))
    return Rows(fields)


def _csv(body: bytes) -> Rows:
    try:
        reader = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = _header(next(reader, []))
        rows = Rows([])
        for cells in reader:
            if not cells:
                continue  # an empty line
            if len(cells) != len(header):
                raise Problem(
                    "invalid-request",
                    f"Line {reader.line_num} has {len(cells)} cells, the header {len(header)}.",
                )
            rows.fields.append(_fields(header, cells))
            rows.lines.append(reader.line_num)
            _refuse_too_many(len(rows.fields))
    except (csv.Error, UnicodeDecodeError) as error:
        raise Problem("malformed-body", f"The body is no CSV in UTF-8: {error}.") from None
    return rows


def _header(cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    if "recipient" not in header:
        raise Problem(
            "invalid-request",
            "The CSV has no column recipient.",
            field="recipient",
            hint="Its first line names the columns: recipient, and the template's variables.",
        )
    if len(set(header)) != len(header) or "" in header:
        raise Problem("invalid-request", "A column has no name, or the name of another.")
    return header


def _fields(header: list[str], cells: list[str]) -> dict[str, Any]:
    named = dict(zip(header, cells, strict=True))
    fields: dict[str, Any] = {name: named[name] for name in FIELDS if named.get(name)}
    context = {name: value for name, value in named.items() if name not in FIELDS}
    return {**fields, "context": context} if context else fields


def _refuse_too_many(count: int) -> None:
    most = conf.get("API_BATCH_ROWS")
    if count > most:
        raise Problem("body-too-large", f"A batch has at most {most} rows.")
