"""What Celery calls an entry of its schedule: here a row of django-celery-beat's."""

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


class BrokenEntryError(ValueError):
    """A row that cannot be turned into a message."""
