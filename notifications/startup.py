"""What this app connects to others as Django starts, when all models are there: ``connect``."""

from django.apps import apps

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
from notifications.worker import (
    provider_checks,  # noqa: F401 -- as above
    requeues,
)
from scheduling import ticker, watch
from templates_engine.folders import namespace_checks
from templates_engine.preview import test_senders


def connect() -> None:
    """Connect the watch of the database, the templates, Celery's signals and the scheduler."""
    # Not the archive: who reads or prunes it keeps nobody from sending.
    watch.need(set(apps.get_app_config("notifications").get_models()) - {ArchivedNotification})
    watch.need(apps.get_app_config("templates_engine").get_models())
    watch.write_too(probe.write)
    test_senders["*"] = template_tests.send_preview
    namespace_checks.append(projects.is_namespace)
    requeues.connect()
    declared_charset.connect()
    _have_schedulers_tick()


def _have_schedulers_tick() -> None:
    """Register what every scheduler does beside its schedules."""
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
