"""The web app: ``config.wsgi:application``."""

import os

from django.core.wsgi import get_wsgi_application

from config.checks import refuse_errors

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()
refuse_errors()

# They need the apps, which are loaded only now.
from notifications import metrics  # noqa: E402 -- after Django's setup
from notifications.api import limits  # noqa: E402 -- after Django's setup
from notifications.core import descriptors  # noqa: E402 -- after Django's setup
from notifications.worker import connections  # noqa: E402 -- after Django's setup

descriptors.raise_limit()
metrics.start("web")
connections.bound_statements()
connections.meet_servers()
limits.prepare()
