"""Tasks of an application, which note what they were called with: ``celery worker -I`` this."""

import json

import redis
from celery import Task, shared_task
from django.conf import settings

KEY = "canvas-calls"


@shared_task(name="canvas.note", bind=True)
def note(self, *args, what="note", **kwargs):
    """Note a call, and give its arguments on."""
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        client.rpush(KEY, json.dumps([what, list(args)]))
    return what


@shared_task(name="canvas.errback")
def errback(request, error, traceback):
    """An error callback of the kind that Celery calls in the worker."""
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        client.rpush(KEY, json.dumps(["errback", [request.id, type(error).__name__]]))


@shared_task(name="canvas.fail")
def fail(*args):
    """Fail."""
    raise ValueError("on purpose")


def calls(client):
    """Return what was called until now: names and arguments, in order."""
    return [tuple(json.loads(entry)) for entry in client.lrange(KEY, 0, -1)]


class Unpublishable(Task):  # type: ignore[misc]  # celery has no types
    """A task whose calls raise ``error``, as something in its arguments or its broker may."""

    error: Exception | None = None

    def apply_async(self, *args, **kwargs):
        if self.error is not None:
            raise self.error
        return super().apply_async(*args, **kwargs)


@shared_task(name="canvas.unpublishable", base=Unpublishable)
def unpublishable(*args):
    """Do nothing."""
