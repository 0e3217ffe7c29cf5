"""The floor of the API: django-ninja, one POST, one row through the ORM, and nothing else."""

import os
from uuid import UUID

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
settings.ROOT_URLCONF = __name__
application = get_wsgi_application()

from django.http import HttpRequest  # noqa: E402 -- needs Django to be set up
from django.urls import path  # noqa: E402 -- after Django's setup
from ninja import NinjaAPI, Schema, Status  # noqa: E402 -- after Django's setup

from notifications.models import Batch  # noqa: E402 -- after Django's setup
from notifications.monitoring import health  # noqa: E402 -- after Django's setup

api = NinjaAPI()


class Body(Schema):
    channel: str
    recipient: str
    subject: str
    body: str


class Made(Schema):
    id: UUID


@api.post("/empty", response={201: Made})
def empty(request: HttpRequest, payload: Body) -> Status[Batch]:
    """Insert one row."""
    return Status(201, Batch.objects.create(name=payload.subject))


urlpatterns = [path("api/v1/", api.urls), path("healthz/live", health.live)]
