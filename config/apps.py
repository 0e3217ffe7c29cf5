"""The Django app of the project, and what it connects when Django starts."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """The app ``config``."""

    name = "config"
    default = True
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and what the audit log notices."""
        from django.conf import settings

        from config import (
            checks,  # noqa: F401 -- their decorators do it
            login_throttle,
        )
        from config.audit import log, sessions
        from notifications.core import roles
        from notifications.operations import personal_data
        from scheduling import ticker

        if roles.shows_pages():
            from config.audit import requests

            requests.connect()
        sessions.connect()
        login_throttle.connect()
        if settings.LOGIN_BY_ALLAUTH:
            from config.staff_login import second_factor

            second_factor.connect()
        ticker.register("config.audit", log.tick)
        personal_data.others["audit_log"] = log.about
