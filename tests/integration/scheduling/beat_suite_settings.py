"""django-celery-beat's own test settings, with our package installed."""

from t.proj.settings import *  # type: ignore[import-not-found]  # noqa: F403 -- from its sdist
from t.proj.settings import INSTALLED_APPS as ITS_APPS

INSTALLED_APPS = ["unfold", *ITS_APPS, "scheduling"]
