"""The shop's own Celery app."""

import os

from celery import Celery

import notifications.celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
notifications.celery.setup(app)
app.autodiscover_tasks()
