"""The two forms of a batch: a JSON list, and a CSV whose header names fields and variables.

A row that cannot be read costs itself: it becomes a refused row of the batch.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from django.http import HttpRequest

from notifications.api import csv_rows, declared_charset
from notifications.api.bodies import read_json
from notifications.api.fields import OF_A_ROW
from notifications.api.notification_bodies import NotificationIn
from notifications.api.problems import Problem
from notifications.core.conf import conf
from notifications.core.errors import MalformedRow

# Columns that are fields of a notification; every other one is a variable of the template.
FIELDS = frozenset(
    {"recipient", "to", "account", "category", "idempotency_key", "reference", "locale", "eta"}
    | {"local_time"}
)
# Fields, too, where no template could have variables of these names.
OWN_TEXT = frozenset({"subject", "body"})

Fields = dict[str, Any]
Item = Fields | Callable[[], Fields]  # a row's fields, or what raises why it has none


@dataclass(slots=True)
class Rows:
    """What a batch asks for. ``lines`` are those of a CSV on which its rows end.

    ``blank`` counts the blank rows of a CSV, which are passed over; ``common`` holds what all
    rows share that do not say otherwise. A batch ``to_audience`` has no rows of its own, but the
    ``audience`` that its body names, and ``variables`` of the template that its recipients fill.
    """

    items: Callable[[], Iterator[Item]]
    lines: list[int] = field(default_factory=list)
    blank: int = 0
    common: Fields = field(default_factory=dict)
    to_audience: bool = False
    audience: Any = None  # as it was given
    variables: Any = field(default_factory=dict)

    def notifications(self, *, key: str, test: bool) -> Iterator[Item]:
        """Return each row; ``key`` makes one idempotent by its place, unless it has its own."""
        for number, item in enumerate(self.items(), 1):
            if isinstance(item, dict):
                if test:
                    item["test"] = True
                if key:
                    item.setdefault("idempotency_key", f"{key}:{number}")
            yield item


def read_rows(request: HttpRequest, *, template: str) -> Rows:
    """Read a batch's body. Raises ``Problem``: 400, 413, 415 or 422."""
    longest = conf.api_batch_bytes
    if request.content_type not in ("application/json", "text/csv"):
        hint = "Send Content-Type: application/json or text/csv."
        raise Problem("unsupported-media-type", hint=hint)
    is_json = request.content_type == "application/json"
    if is_json:
        declared_charset.require_utf_8(request)
    codec = declared_charset.codec_of(request)
    body = request.read(longest + 1)
    if len(body) > longest:
        raise Problem("body-too-large", f"A batch has at most {longest} bytes.")
    if is_json:
        return _json(body)
    if template:
        return rows_of_csv(body, FIELDS, codec)
    return rows_of_csv(body, FIELDS | OWN_TEXT, codec, has_variables=False)


def read_csv(
    request: HttpRequest, *, among: Collection[str], fields: Collection[str]
) -> csv_rows.Sheet:
    """Read a body that is a CSV, one column of which is ``among`` these; ``fields`` are known, too.

    Its rows can all be read. Raises ``Problem``: 413, 415 or 422.
    """
    longest = conf.api_batch_bytes
    if request.content_type != "text/csv":
        raise Problem("unsupported-media-type", hint="Send Content-Type: text/csv.")
    codec = declared_charset.codec_of(request)
    body = request.read(longest + 1)
    if len(body) > longest:
        raise Problem("body-too-large", f"A file has at most {longest} bytes.")
    try:
        # Only a quotation mark makes a file unreadable further down, and each row ends a line.
        if b'"' in body or body.count(b"\n") + body.count(b"\r") >= conf.api_batch_rows:
            _check_count(sum(1 for _ in csv_rows.read(body, codec, among, fields).rows()))
        return csv_rows.read(body, codec, among, fields)
    except csv_rows.UnreadableFile as error:
        raise unreadable(error) from None


def unreadable(error: csv_rows.UnreadableFile) -> Problem:
    """Say why a file cannot be read."""
    return Problem("invalid-request", f"The CSV cannot be read. {error}", field="body")


def _json(body: bytes) -> Rows:
    found: Any = read_json(body)
    common: Any = {}
    if isinstance(found, dict) and "audience" in found:
        return _to_audience(found)
    if isinstance(found, dict) and found.keys() <= {"common", "notifications"}:
        found, common = found.get("notifications"), found.get("common", {})
    if not isinstance(found, list) or not isinstance(common, dict):
        hint = 'Send a list of objects, or {"common": {…}, "notifications": […]}.'
        raise Problem("invalid-request", "The body is not a list.", hint=hint)
    _check_shared(common)
    _check_count(len(found))
    return Rows(
        lambda: (row if isinstance(row, dict) else _NO_OBJECT for row in found), common=common
    )


def _to_audience(body: Fields) -> Rows:
    if unknown := body.keys() - {"audience", "common", "variables"}:
        raise Problem(
            "invalid-request",
            "A batch to an audience has no such field.",
            field=min(unknown)[:50],
            hint='Send {"audience": "…", "common": {…}, "variables": {…}}.',
        )
    if not isinstance(body["audience"], str):
        raise Problem("invalid-request", "It must be an audience's name.", field="audience")
    common = body.get("common", {})
    if not isinstance(common, dict):
        raise Problem("invalid-request", "It must be a JSON object.", field="common")
    _check_shared(common)
    return Rows(
        lambda: iter(()),
        common=common,
        to_audience=True,
        audience=body["audience"],
        variables=body.get("variables", {}),
    )


def _check_shared(common: Fields) -> None:
    for name in common:
        if name in OF_A_ROW or name not in NotificationIn.model_fields:
            raise Problem(
                "invalid-request", "Rows cannot share this field.", field=f"common.{name}"
            )


def rows_of_csv(
    body: bytes, fields: frozenset[str], codec: str = "", *, has_variables: bool = True
) -> Rows:
    """Read a CSV, whose columns but ``fields`` are variables of the template, if there is one.

    Raises ``Problem``: 413, or 422, also for a column that nothing would use.
    """
    # Read once to see that it can be read to its end, before the first row is accepted.
    try:
        read = partial(csv_rows.read, body, codec, fields=fields)
        sheet = read()
        if not has_variables:
            _check_columns(sheet.header, fields)
        rows = Rows(lambda: (_item(row, fields) for row in read().rows()))
        for row in sheet.rows():
            rows.lines.append(row.line)
    except csv_rows.UnreadableFile as error:
        raise unreadable(error) from None
    rows.blank = sheet.blank
    _check_count(len(rows.lines))
    return rows


def _check_columns(header: Sequence[str], fields: frozenset[str]) -> None:
    """Refuse unknown columns where no template uses them. Raises ``Problem``."""
    if unused := [name[:50] for name in header if name not in fields]:
        known = ", ".join(sorted(fields))
        raise Problem(
            "invalid-request",
            f"Without a template nothing uses the columns {', '.join(unused[:20])}.",
            field="body",
            hint=f"Name a template in the query. Columns that are fields: {known}.",
        )


def _item(row: csv_rows.Row, fields: frozenset[str]) -> Item:
    if row.problem:
        return partial(_refuse, row.problem)
    own: Fields = {name: cell for name, cell in row.cells.items() if name in fields and cell}
    context = {name: cell for name, cell in row.cells.items() if name not in fields}
    if csv_rows.TO in own:
        own[csv_rows.TO] = {"recipient": own[csv_rows.TO]}
    return {**own, "context": context} if context else own


def _refuse(problem: str) -> NoReturn:
    raise MalformedRow(problem, field="row")


_NO_OBJECT = partial(_refuse, 'The row is not an object, like {"recipient": "…"}.')


def _check_count(count: int) -> None:
    most = conf.api_batch_rows
    if count > most:
        raise Problem("body-too-large", f"A batch has at most {most} rows.")
    if not count:
        raise Problem("invalid-request", "There is no row in it.")
