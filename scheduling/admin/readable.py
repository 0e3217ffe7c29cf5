"""Rows for pages of admin: one that cannot be read hides no other, and shows its fault.

A column may hold what no program of ours writes there: a time that Python has not, a zone that this
host does not know. Such a row is read column by column; what cannot be read has its default, and
``fault_of`` names it. Saving the row's form writes these columns anew.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models.query import ModelIterable
from django.http import HttpRequest
from django.utils.timezone import localtime
from unfold.admin import ModelAdmin

from scheduling import isolation

FAULT = "_unreadable"
STAGE = "reading a row for admin"


def fault_of(row: models.Model) -> str:
    """Return which columns of a row cannot be read; empty if all can."""
    names: Sequence[str] = getattr(row, FAULT, ())
    return f"Its {', '.join(names)} cannot be read." if names else ""


class ReadableRows(models.QuerySet[Any]):
    """A queryset whose rows can all be shown, if need be without some of their columns."""

    def _fetch_all(self) -> None:
        if self._result_cache is None and self._iterable_class is ModelIterable:
            self._result_cache = self._read()
        super()._fetch_all()

    def _read(self) -> list[Any]:
        try:
            return _readable_rows(ModelIterable(self))
        except Exception as error:
            if isolation.concerns_everybody(error):
                raise
        keys = list(self.values_list("pk", flat=True))
        rows: dict[Any, Any] = {}

        def read(part: list[Any]) -> None:
            query: models.QuerySet[Any] = self.all()
            query.query.clear_limits()
            rows.update(
                {row.pk: row for row in _readable_rows(ModelIterable(query.filter(pk__in=part)))}
            )

        joined = self.query.select_related
        names = {*joined} if isinstance(joined, dict) else set()
        for key, _ in isolation.halving(keys, read, stage=STAGE, key=str):
            rows |= {row.pk: row for row in _by_column(self.model, key, names)}
        return [rows[key] for key in keys if key in rows]


class ReadableAdmin(ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """A ``ModelAdmin`` whose pages show rows that cannot be read, too."""

    def get_queryset(self, request: HttpRequest) -> ReadableRows:
        return readable(super().get_queryset(request))


def readable(rows: models.QuerySet[Any]) -> ReadableRows:
    """Have a queryset read each row, or what can be read of it."""
    return ReadableRows(rows.model, query=rows.query.chain(), using=rows.db)


def _readable_rows(rows: Iterable[Any]) -> list[Any]:
    """Read rows, and refuse those whose moments have no local time."""
    read_rows = list(rows)
    for row in read_rows:
        related = row._state.fields_cache.values()  # noqa: SLF001 -- Django's name
        for part in (row, *related):
            for value in vars(part).values() if part is not None else ():
                _refuse_unshowable(value)
    return read_rows


def _refuse_unshowable(value: object) -> None:
    if isinstance(value, datetime):
        localtime(value)


def _by_column(model: type[models.Model], key: Any, joined: set[str]) -> list[Any]:
    """Read what can be read of a row and of the rows joined to it; empty if the row is gone."""
    rows = model._base_manager.filter(pk=key)  # noqa: SLF001 -- Django's name
    if not rows.exists():
        return []
    faults, values = [], []
    for field in model._meta.concrete_fields:
        try:
            values.append(_column(rows, field, is_joined=field.name in joined))
        except Exception as error:
            if isolation.concerns_everybody(error):
                raise
            faults.append(field.name)
            values.append(field.get_default())
    row = model.from_db(rows.db, [field.attname for field in model._meta.concrete_fields], values)
    for relation in model._meta.related_objects:
        if relation.name in joined and relation.one_to_one:
            for other in _by_column(relation.related_model, key, set()):
                setattr(row, relation.name, other)
                faults += getattr(other, FAULT)
    setattr(row, FAULT, faults)
    return [row]


def _column(rows: models.QuerySet[Any], field: Any, *, is_joined: bool) -> Any:
    """Read a column of one row. Raises what reading it, or the row that it points to, raises."""
    value = rows.values_list(field.attname, flat=True).get()
    _refuse_unshowable(value)
    if is_joined and value is not None:
        others = field.related_model._base_manager  # noqa: SLF001 -- Django's name
        _readable_rows(others.filter(pk=value))
    return value
