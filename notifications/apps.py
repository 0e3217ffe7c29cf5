"""The Django app of notifications, and its admin."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin import apps as admin_apps
from django.core.exceptions import ImproperlyConfigured

from notifications.core import needed, roles
from scheduling import installed


class NotificationsConfig(AppConfig):
    """The app ``notifications``."""

    name = "notifications"
    default = True
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, *args: Any) -> None:
        """Raise ``ImproperlyConfigured`` where an app or the settings are missing."""
        super().__init__(*args)
        installed.require(needed.DJANGOS, "add them to INSTALLED_APPS.")
        installed.require(needed.OURS, needed.REMEDY)
        if missing := needed.missing_settings():
            raise ImproperlyConfigured(missing)

    def ready(self) -> None:
        """Connect this app to the others, to Celery, and to what every scheduler does."""
        from notifications import (
            celery,
            project_checks,  # noqa: F401 -- its decorators register them
            startup,
        )

        celery.refuse_unfit_apps()
        startup.connect()


class AdminConfig(admin_apps.AdminConfig):
    """Django's admin on our site: in place of ``django.contrib.admin``.

    A worker or scheduler shows no pages, and spares the memory of the admin classes of all apps.
    The site loads them there if somebody asks for its addresses.
    """

    default = False
    default_site = "notifications.admin_site.Site"

    def __init__(self, *args: Any) -> None:
        """Raise ``ImproperlyConfigured`` where Django's own is in the project, too."""
        super().__init__(*args)
        for entry in settings.INSTALLED_APPS:
            if f"{entry}.".startswith("django.contrib.admin."):
                raise ImproperlyConfigured(
                    f"INSTALLED_APPS has {entry} beside notifications.apps.AdminConfig, which "
                    f'stands in for it. Add to your settings: INSTALLED_APPS.remove("{entry}")'
                )

    def ready(self) -> None:
        """Load the admin classes of all apps, but in a worker or a scheduler."""
        if roles.shows_pages():
            super().ready()
        else:
            admin_apps.SimpleAdminConfig.ready(self)
