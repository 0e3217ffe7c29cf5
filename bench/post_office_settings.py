"""django-post_office as its documentation tunes it, in a Django project of its own."""

import os

import dj_database_url

SECRET_KEY = "only-for-benchmarks"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "post_office"]
DATABASES = {"default": dict(dj_database_url.parse(os.environ["FLOOR_DATABASE_URL"]))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
EMAIL_BACKEND = "post_office.EmailBackend"
EMAIL_HOST = "127.0.0.1"
EMAIL_PORT = int(os.environ["SINK_PORT"])
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
POST_OFFICE = {
    "BATCH_SIZE": 1000,
    "THREADS_PER_PROCESS": 5,
    "LOG_LEVEL": 1,
    "TEMPLATE_ENGINE": "django",
}
