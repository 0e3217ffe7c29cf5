"""The composition root: settings, the Celery app, queues and urls.

``celery -A config worker | beat | flower`` finds the app here.
"""

import atexit
import gc

from config.celery import app as celery_app

__all__ = ["celery_app"]

# As it starts a process makes half a million objects that stay. Python would look through them
# again and again meanwhile, and once more at the end: a third of a short command's time.
gc.set_threshold(50_000)
atexit.register(gc.freeze)
