"""The Django app of notifications, and what it connects when Django starts."""

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
        """Have every scheduler process do what must go on by itself.

        Raises ``ImproperlyConfigured`` where an app is missing whose tables this one needs.
        """
        if lacking := [name for name in NEEDED if not apps.is_installed(name)]:
            raise ImproperlyConfigured(
                f"INSTALLED_APPS lacks {', '.join(lacking)}: "
                "add *NOTIFICATIONS_APPS of notifications.settings."
            )
        from notifications import project_checks  # noqa: F401 -- its decorators register them
        from notifications.api import declared_charset
        from notifications.audiences import (
            expansion,
            scheduled,  # noqa: F401 -- its decorators register them
        )
        from notifications.callbacks import mailbox, outbound, receipts
        from notifications.db import checks  # noqa: F401 -- its decorators register them
        from notifications.delivery import probe
        from notifications.mails import collecting
        from notifications.maintenance import retention, sweep
        from notifications.models import ArchivedNotification
        from notifications.monitoring import (
            processes,  # noqa: F401 -- its signal handlers
            throughput,
        )
        from notifications.operations import batches, bulk_replays, holds, template_tests
        from notifications.queueing import allocation
        from notifications.submission import (
            projects,
            scheduled_sends,  # noqa: F401 -- its decorators register them
        )
        from notifications.worker import checks as settings_checks  # noqa: F401 -- as above
        from notifications.worker import requeues
        from scheduling import ticker, watch
        from templates_engine.folders import namespace_checks
        from templates_engine.preview import test_senders

        # Not the archive: who reads or prunes it keeps nobody from sending.
        watch.need(set(self.get_models()) - {ArchivedNotification})
        watch.need(apps.get_app_config("templates_engine").get_models())
        watch.write_too(probe.write)
        test_senders["*"] = template_tests.send_preview
        namespace_checks.append(projects.is_namespace)

        requeues.connect()
        declared_charset.connect()
        ticker.register("notifications.sweep", sweep.sweep, work=sweep.work())
        ticker.register("notifications.allocation", allocation.tick, work=allocation.work())
        ticker.register("notifications.batches", batches.tick, work=batches.work())
        ticker.register("notifications.audiences", expansion.tick, work=expansion.work())
        ticker.register("notifications.holds", holds.tick, work=holds.work())
        ticker.register("notifications.bulk_replays", bulk_replays.tick, work=bulk_replays.work())
        ticker.register("notifications.receipts", receipts.tick, work=receipts.work())
        ticker.register("notifications.mailbox", mailbox.Reader().tick)
        ticker.register("notifications.status_callbacks", outbound.tick, work=outbound.work())
        ticker.register("notifications.retention", retention.tick)
        ticker.register("notifications.mails", collecting.tick)
        ticker.register("notifications.minute_counts", throughput.tick)


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
