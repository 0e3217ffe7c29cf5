"""The Django app of notifications, and its admin."""

from django.apps import AppConfig, apps
from django.contrib.admin import apps as admin_apps
from django.core.exceptions import ImproperlyConfigured

from notifications.core import roles

NEEDED = ("django_celery_beat", "scheduling", "templates_engine")


class NotificationsConfig(AppConfig):
    """The app ``notifications``."""

    name = "notifications"
    default = True
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect this app to the others, and to what every scheduler does.

        Raises ``ImproperlyConfigured`` where an app is missing whose tables this one needs.
        """
        if lacking := [name for name in NEEDED if not apps.is_installed(name)]:
            raise ImproperlyConfigured(
                f"INSTALLED_APPS lacks {', '.join(lacking)}: "
                "add *NOTIFICATIONS_APPS of notifications.settings."
            )
        from notifications import (
            project_checks,  # noqa: F401 -- its decorators register them
            startup,
        )

        startup.connect()


class AdminConfig(admin_apps.AdminConfig):
    """Django's admin on our site: in place of ``django.contrib.admin``.

    A worker or scheduler shows no pages, and spares the memory of the admin classes of all apps.
    The site loads them there if somebody asks for its addresses.
    """

    default = False
    default_site = "notifications.admin_site.Site"

    def ready(self) -> None:
        """Load the admin classes of all apps, but in a worker or a scheduler."""
        if roles.shows_pages():
            super().ready()
        else:
            admin_apps.SimpleAdminConfig.ready(self)
