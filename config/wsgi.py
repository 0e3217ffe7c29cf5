"""The web app: ``config.wsgi:application``."""

import os

from django.core.wsgi import get_wsgi_application

from config.checks import refuse_errors

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()
refuse_errors()

from notifications import metrics  # noqa: E402 (it needs the apps, which are loaded only now)

metrics.start("web")
