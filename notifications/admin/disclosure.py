"""Who may see contents and recipients in the admin."""

from typing import Any, TypeVar

from django.db.models import Model, QuerySet, Value
from django.http import HttpRequest

from notifications.core.masking import mask

SEE_CONTENT = "notifications.view_content"
HIDDEN = "Hidden: needs the permission “Can see contents and recipients”."

_Row = TypeVar("_Row", bound=Model)


def may_see(request: HttpRequest) -> bool:
    """Tell whether the user may see contents and recipients."""
    return bool(request.user.has_perm(SEE_CONTENT))


def noted(rows: "QuerySet[_Row]", request: HttpRequest) -> "QuerySet[_Row]":
    """Note on each row whether the user may see its content: columns get no request."""
    annotated: QuerySet[Any] = rows.annotate(opened=Value(may_see(request)))
    return annotated


def is_open(row: Model) -> bool:
    """Tell whether the user may see the content of a row that ``noted`` has returned."""
    return bool(getattr(row, "opened", False))


def address(row: Model, recipient: str) -> str:
    """Return a row's recipient, masked for a user who may not see it."""
    return recipient if is_open(row) else mask(recipient)
