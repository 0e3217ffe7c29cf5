"""Celery's remote control: a notification that is revoked is cancelled, in its row."""

from collections.abc import Sequence
from typing import Any

from celery.app import control


class Control(control.Control):  # type: ignore[misc]  # celery has no types
    """What ``app.control``, results' ``revoke()`` and Flower use."""

    def revoke(self, task_id: str | Sequence[str], *args: Any, **options: Any) -> Any:
        """Cancel the notifications among these ids that no worker has; revoke the other tasks.

        What is being sent already is sent, with ``terminate``, too: a provider that was called
        cannot be called back.
        """
        # Celery makes its control before Django's models may be imported.
        from notifications import submission  # noqa: PLC0415 -- the models are loaded only then
        from notifications.canvas import results  # noqa: PLC0415 -- the models are loaded only then
        from notifications.models import Notification  # noqa: PLC0415 -- the models are loaded only then

        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        rows = Notification.objects.filter(id__in=[results.id_of(task_id) for task_id in ids])
        known = set(rows.values_list("id", flat=True))
        for id_ in known:
            submission.cancel(id_)
        others = [task_id for task_id in ids if results.id_of(task_id) not in known]
        return super().revoke(others, *args, **options) if others else None
