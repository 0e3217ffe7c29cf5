"""What a schedule publishes: the task's name, arguments and options, read from its row."""

from typing import Any

from celery import Celery
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import ModelEntry


class Entry(ModelEntry):  # type: ignore[misc]  # django-celery-beat is untyped
    """A django-celery-beat entry that tells of a broken row instead of disabling it."""

    _is_read = False

    def __init__(self, model: PeriodicTask, app: Celery | None = None) -> None:
        """Read a row. Raises ``ValueError`` if its JSON or its rule cannot be read."""
        super().__init__(model, app=app)
        self._is_read = True

    def _disable(self, model: PeriodicTask) -> None:
        if not self._is_read:
            raise BrokenEntryError(
                f"The schedule {model.name!r} cannot be read; see its arguments and its rule."
            )
        super()._disable(model)

    def publish_options(self) -> dict[str, Any]:
        """Give the options for ``apply_async``: headers, queue, priority, expiry, …"""
        options = {name: value for name, value in self.options.items() if value != ""}
        options["headers"] = {**options["headers"], "celery_beat_task": True}
        return options


class BrokenEntryError(ValueError):
    """A row that cannot be turned into a message."""
