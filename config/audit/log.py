"""Writes the audit log, and prunes it; ``record`` is the one function that adds to it."""

import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models, transaction

from config.audit.acts import MASKED_MODELS, SHOWN_COLUMNS, UNWRITTEN_COLUMNS
from config.audit.model import AuditEntry
from config.audit.triggers import MAY_PRUNE
from notifications.core.masking import without_addresses
from notifications.core.text import printable
from notifications.db import clock

Kind = AuditEntry.Kind
Columns = dict[str, Any]

MOST_DETAIL = 2000  # characters
BATCH = 5000  # entries that are pruned in one transaction
BUSY, IDLE = 1.0, 3600.0  # seconds between two rounds of pruning


class Who(NamedTuple):
    """Who acts: a person, a key or a command's user."""

    kind: AuditEntry.Kind
    name: str
    id: str = ""


class Content(NamedTuple):
    """A value that is not written; only whether it changed."""

    value: str


def record(
    who: Who,
    act: str,
    *,
    of: tuple[str, str] = ("", ""),
    before: Columns | None = None,
    after: Columns | None = None,
    detail: str = "",
    request_id: str = "",
) -> None:
    """Add an entry. ``of`` is the row's model and key; ``before`` and ``after`` are snapshots.

    Of columns that did not change, only the ones that name the row are written.
    """
    mask = _Mask()
    changes = _changes(before, after)
    AuditEntry.objects.create(
        kind=who.kind,
        who=printable(who.name)[:150],
        who_id=who.id[:64],
        act=act[:100],
        object_type=of[0][:100],
        object_id=of[1][:64],
        before=None if before is None else mask.columns(before, changes),
        after=None if after is None else mask.columns(after, changes),
        detail=without_addresses(printable(detail))[:MOST_DETAIL],
        request_id=request_id[:64],
    )


def snapshot(row: models.Model) -> Columns:
    """Return a row's columns as ``record`` takes them: what may be content is marked as such."""
    taken: Columns = {}
    for field in row._meta.concrete_fields:
        if not UNWRITTEN_COLUMNS.fullmatch(field.name):
            taken[field.name] = _column_value(row, field)
    for many in row._meta.many_to_many:
        values = getattr(row, many.name).all()
        taken[many.name] = sorted(str(value) for value in values)
    return taken


def about(ids: list[str]) -> list[dict[str, Any]]:
    """Return the entries about these notifications, as JSON has them."""
    entries = AuditEntry.objects.filter(object_id__in=ids).order_by("id")
    taken = list(entries.values("at", "kind", "who", "act", "object_type", "object_id", "detail"))
    plain: list[dict[str, Any]] = json.loads(json.dumps(taken, cls=DjangoJSONEncoder))
    return plain


def prune(*, limit: int | None = None) -> int:
    """Delete entries older than ``AUDIT_KEEP_DAYS`` (0 keeps all); return how many went."""
    if not settings.AUDIT_KEEP_DAYS:
        return 0
    old = clock.now() - timedelta(days=settings.AUDIT_KEEP_DAYS)
    gone = 0
    while limit is None or gone < limit:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config(%s, 'on', true)", [MAY_PRUNE])
            ids = AuditEntry.objects.filter(at__lt=old).order_by("at").values("pk")[:BATCH]
            count, _ = AuditEntry.objects.filter(
                pk__in=list(ids.values_list("pk", flat=True))
            ).delete()
        if not count:
            break
        gone += count
    return gone


def tick() -> float:
    """Prune a few, and return the seconds until the next round; for every scheduler."""
    return BUSY if prune(limit=BATCH) else IDLE


def _column_value(row: models.Model, field: Any) -> Any:
    """Return a column's value, marked as content unless it is known to be none."""
    value = field.value_from_object(row)
    if value is None or isinstance(value, bool | int | float):
        return value
    text = isinstance(field, models.TextField | models.CharField | models.JSONField)
    named = field.name in SHOWN_COLUMNS and row._meta.label_lower not in MASKED_MODELS
    if not text or field.choices or named:
        return json.loads(json.dumps(value, cls=DjangoJSONEncoder, default=str))
    return Content(json.dumps(value, cls=DjangoJSONEncoder, default=str)) if value else value


def _changes(before: Columns | None, after: Columns | None) -> set[str]:
    """Return the columns that differ, where there are both."""
    if before is None or after is None:
        return {*(before or {}), *(after or {})}
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


class _Mask:
    """Masks contents so that one entry shows whether they changed, and nothing more."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(16)  # of one entry, and kept nowhere

    def columns(self, taken: Mapping[str, Any], told: set[str]) -> Columns:
        return {name: self._plain(value) for name, value in taken.items() if name in told}

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Content):
            return f"hidden:{hmac.digest(self._salt, value.value.encode(), 'sha256').hex()[:8]}"
        if isinstance(value, str):
            return without_addresses(printable(value))
        if isinstance(value, list):
            return [self._plain(item) for item in value]
        if isinstance(value, dict):
            return {str(name): self._plain(item) for name, item in value.items()}
        return value
