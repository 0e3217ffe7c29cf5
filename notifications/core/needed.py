"""What a project needs so that the apps of notifications can be loaded, and how to add it."""

from django.conf import settings

DJANGOS = ("django.contrib.auth", "django.contrib.contenttypes")
OURS = (
    "notifications.apps.AdminConfig",
    "django_celery_beat",
    "django_celery_results",
    "scheduling",
    "templates_engine",
)
REMEDY = "use INSTALLED_APPS = [*NOTIFICATIONS_APPS, …], of notifications.settings."
"""Of what ``OURS`` lists, and of the app ``notifications`` itself."""
SETTINGS = ("NOTIFICATIONS_QUEUE_WINDOW", "CELERY_TASK_ROUTES", "CELERY_TASK_QUEUES", "BROKER_URL")


def missing_settings() -> str:
    """Return which settings a project lacks, and what to add; empty if it has them."""
    missing = [name for name in SETTINGS if not hasattr(settings, name)]
    if not missing:
        return ""
    return (
        f"Settings are missing: {', '.join(missing)}. "
        "Add to your settings: from notifications.settings import *"
    )
