"""The composition root: settings, the Celery app, queues and urls.

``celery -A config worker | beat | flower`` finds the app here.
"""

from config.celery import app as celery_app

__all__ = ["celery_app"]
