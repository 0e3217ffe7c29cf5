"""The Celery task that runs what Django's tasks enqueue; see ``django_tasks``."""

from typing import Any

import celery
from celery import shared_task
from django.utils.module_loading import import_string


@shared_task(name="scheduling.call_task", bind=True)  # type: ignore[untyped-decorator]  # celery has no types
def call_task(self: celery.Task, path: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call the task at a dotted path by its backend. Raises what it raises."""
    task = import_string(path)
    return task.get_backend().run(task, self.request.id, args, kwargs)
