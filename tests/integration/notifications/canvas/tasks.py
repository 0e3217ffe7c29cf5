"""Tasks of an application, which note what they were called with: ``celery worker -I`` this."""

import json
from typing import Any, Never

import redis
from celery import Task, shared_task
from django.conf import settings

KEY = "canvas-calls"


@shared_task(name="canvas.note", bind=True)  # type: ignore[untyped-decorator]  # celery has no types
def note(self: Task, *args: Any, what: str = "note", **kwargs: Any) -> Any:
    """Note a call, and give its arguments on."""
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        client.rpush(KEY, json.dumps([what, list(args)]))
    return what


@shared_task(name="canvas.errback")  # type: ignore[untyped-decorator]  # celery has no types
def errback(request: Any, error: Any, traceback: Any) -> None:
    """An error callback of the kind that Celery calls in the worker."""
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        client.rpush(KEY, json.dumps(["errback", [request.id, type(error).__name__]]))


@shared_task(name="canvas.fail")  # type: ignore[untyped-decorator]  # celery has no types
def fail(*args: Any) -> Never:
    """Fail."""
    raise ValueError("on purpose")


def calls(client: redis.Redis) -> list[Any]:
    """Return what was called until now: names and arguments, in order."""
    return [tuple(json.loads(entry)) for entry in client.lrange(KEY, 0, -1)]


class Unpublishable(Task):  # type: ignore[misc]  # celery has no types
    """A task whose calls raise ``error``, as something in its arguments or its broker may."""

    error: Exception | None = None

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        if self.error is not None:
            raise self.error
        return super().apply_async(*args, **kwargs)


@shared_task(name="canvas.unpublishable", base=Unpublishable)  # type: ignore[untyped-decorator]  # celery has no types
def unpublishable(*args: Any) -> None:
    """Do nothing."""
