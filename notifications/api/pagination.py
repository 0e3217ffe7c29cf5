"""Pages by cursor: newest first, each row once, whatever arrives meanwhile.

A page says where it ended, not how far it was from the start, so rows that arrive or leave do
not shift the next one.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
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
    found = list(rows.order_by("-pk")[: paging.limit + 1])
    page = found[: paging.limit]
    return page, _write(page[-1].pk) if len(found) > paging.limit else None


def _write(key: Any) -> str:
    return urlsafe_b64encode(str(key).encode()).decode().rstrip("=")


def _read(cursor: str, read_key: Callable[[str], Any]) -> Any:
    try:
        return read_key(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode())
    except ValueError:
        raise Problem(
            "invalid-request",
            "The cursor is none that was given out here.",
            field="cursor",
            hint="Pass next_cursor as it came, or none for the first page.",
        ) from None
