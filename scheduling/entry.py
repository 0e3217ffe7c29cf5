"""What Celery calls an entry of its schedule: here a row of django-celery-beat's."""

import logging
import math
from datetime import datetime, timedelta
from typing import Any

from celery import Celery
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import ModelEntry

from scheduling.models import Origin, Schedule

logger = logging.getLogger(__name__)

KEPT_OPTIONS = {
    *("queue", "exchange", "routing_key", "priority", "headers"),
    *("expires", "expire_seconds"),
}
"""Options of an entry of ``beat_schedule`` that a row can hold."""


class Entry(ModelEntry):  # type: ignore[misc]  # django-celery-beat is untyped
    """A django-celery-beat entry that tells of a broken row instead of disabling it."""

    _is_read = False

    def __init__(self, model: PeriodicTask, app: Celery | None = None) -> None:
        """Read a row. Raises ``ValueError`` if its JSON or its rule cannot be read."""
        super().__init__(model, app=app)
        self._is_read = True

    @classmethod
    def from_entry(cls, name: str, app: Celery | None = None, **entry: Any) -> "Entry":
        """Write an entry of ``beat_schedule`` to its row; what a row cannot hold is logged."""
        lost = sorted({*(entry.get("options") or {})} - KEPT_OPTIONS)
        if lost:
            logger.warning("beat_schedule: options of %r are not kept: %s", name, ", ".join(lost))
        try:
            made: Entry = super().from_entry(name, app=app, **entry)
        except (ValidationError, IntegrityError):
            # Of two schedulers that make an entry at once, the second takes the first one's row.
            made = super().from_entry(name, app=app, **entry)
        Schedule.objects.update_or_create(
            periodic_task=made.model,
            defaults={"origin": Origin.BEAT_SCHEDULE, "undeclared_at": None},
        )
        return made

    @classmethod
    def _unpack_options(cls, *, expires: Any = None, **options: Any) -> dict[str, Any]:
        fields: dict[str, Any] = super()._unpack_options(**options)
        if isinstance(expires, datetime):
            fields["expires"] = expires
        elif expires is not None:
            is_length = isinstance(expires, timedelta)
            seconds = expires.total_seconds() if is_length else float(expires)
            fields["expire_seconds"] = max(math.ceil(seconds), 1)
        return fields

    def _disable(self, model: PeriodicTask) -> None:
        if not self._is_read:
            raise BrokenEntry(
                f"The schedule {model.name!r} cannot be read; see its arguments and its rule."
            )
        super()._disable(model)


class BrokenEntry(ValueError):
    """A row that cannot be turned into a message."""
