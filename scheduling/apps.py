"""The Django app of the scheduler, and what it connects when Django starts."""

from typing import Any

from celery.signals import celeryd_init
from django.apps import AppConfig, apps
from django.db import connections
from django.db.models.signals import post_migrate

from scheduling import installed

# The app's models must be loaded before what uses them, hence the imports inside functions.

NEEDED = ("django_celery_beat",)


class SchedulingConfig(AppConfig):
    """The app ``scheduling``."""

    name = "scheduling"
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, *args: Any) -> None:
        """Raise ``ImproperlyConfigured`` where an app is missing whose tables this one needs."""
        super().__init__(*args)
        installed.require(NEEDED, 'add "django_celery_beat".')

    def ready(self) -> None:
        from scheduling import (
            change_marks,
            chosen_backend,
            execution,
            isolation,
            other_schedulers,
            ticker,
            watch,
            workers,
        )
        from scheduling.housekeeping import Housekeeping

        name_schedules()
        watch.need(self.get_models())
        isolation.ask_by(watch.is_well_after)
        change_marks.set_after_commit()
        execution.connect()
        workers.connect()
        other_schedulers.connect()
        celeryd_init.connect(watch.share, weak=False)
        ticker.register("scheduling.housekeeping", Housekeeping().tick)
        if chosen_backend.name() != "database":
            # Jobs are kept elsewhere, beside the schedules that people make in admin.
            from scheduling.backends.rounds import Rounds

            ticker.register("scheduling.backend", Rounds(chosen_backend.kept()).tick)
        post_migrate.connect(_after_migrate, sender=self)


def name_schedules() -> None:
    """Call a ``PeriodicTask`` a schedule on every page; migrations do not see these names."""
    for label, singular, plural in (
        ("django_celery_beat.PeriodicTask", "schedule", "schedules"),
        ("django_celery_results.TaskResult", "job result", "job results"),
    ):
        if apps.is_installed(label.partition(".")[0]):
            meta = apps.get_model(label)._meta
            meta.verbose_name, meta.verbose_name_plural = singular, plural
            apps.get_app_config(meta.app_label).verbose_name = "Schedules"


def _after_migrate(*, using: str, **_: Any) -> None:
    """Renew the triggers, and register the jobs that code declares."""
    from scheduling import jobs, triggers

    connection = connections[using]
    if "scheduling_change" not in connection.introspection.table_names():
        return  # migrated back to nothing
    if connection.vendor == "sqlite":
        triggers.install(connection)  # a later migration that rebuilds a table drops its triggers
    jobs.register_declared()
