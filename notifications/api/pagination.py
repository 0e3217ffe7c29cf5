"""Pages by cursor: newest first, each row once, whatever arrives meanwhile.

A page says where it ended, not how far it was from the start, so rows that arrive or leave do
not shift the next one.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db.models import F, Model, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan
from ninja import Field, Schema

from notifications.api.problems import Problem

LARGEST = 500
DEFAULT = 50

T = TypeVar("T")
M = TypeVar("M", bound=Model)


class Page(Schema, Generic[T]):
    """A part of a list. ``next_cursor`` leads to the next one; null at the end."""

    items: list[T]
    next_cursor: str | None


class Paging(Schema):
    """Which part of a list."""

    limit: int = Field(DEFAULT, ge=1, le=LARGEST, description="Rows of one page.")
    cursor: str = Field("", max_length=200, description="`next_cursor` of the page before.")


def cut(
    rows: "QuerySet[M]", paging: Paging, read_key: Callable[[str], Any]
) -> tuple[list[M], str | None]:
    """Take one page of rows, by descending primary key, and the cursor to the next.

    ``read_key`` turns a primary key's text back into its value, raising ``ValueError``.
    """
    if paging.cursor:
        rows = rows.filter(pk__lt=_read(paging.cursor, read_key))
    return _page(rows.order_by("-pk"), paging, lambda last: str(last.pk))


def cut_by_age(rows: "QuerySet[M]", paging: Paging) -> tuple[list[M], str | None]:
    """Take one page of rows that have a ``created_at`` and a UUID, the newest first.

    An index on both serves the order, a time's beginning and end, and the cursor alike.
    """
    if paging.cursor:
        age = Tuple(F("created_at"), F("pk"))
        rows = rows.filter(TupleLessThan(age, _read(paging.cursor, _read_age)))
    return _page(
        rows.order_by("-created_at", "-pk"),
        paging,
        lambda last: f"{last.created_at.isoformat()} {last.pk}",
    )


def _page(
    rows: "QuerySet[M]", paging: Paging, key: Callable[[Any], str]
) -> tuple[list[M], str | None]:
    one_more = list(rows[: paging.limit + 1])
    page = one_more[: paging.limit]
    return page, _write(key(page[-1])) if len(one_more) > paging.limit else None


def _write(key: str) -> str:
    return urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _read_age(text: str) -> tuple[datetime, UUID]:
    written, _, id_ = text.partition(" ")
    moment = datetime.fromisoformat(written)
    if moment.utcoffset() != timedelta(0):
        raise ValueError("It was written in UTC.")
    return moment, UUID(id_)


def _read(cursor: str, read_key: Callable[[str], Any]) -> Any:
    try:
        return read_key(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode())
    except ValueError:
        raise Problem(
            "invalid-request",
            "The cursor is not one that this list returned.",
            field="cursor",
            hint="Pass next_cursor unchanged, or no cursor for the first page.",
        ) from None
