"""Schedulers, schedules and their runs."""

from collections.abc import Iterator

from django_celery_beat.models import PeriodicTask

from notifications.db import clock
from notifications.monitoring.diagnosis.finding import Finding
from scheduling import declarations, failures, housekeeping, liveness, streaks, workers
from scheduling import overdue as standing
from scheduling.models import Schedule


def schedulers() -> Iterator[Finding]:
    """At least one scheduler is alive."""
    if housekeeping.live_schedulers(clock.now()):
        return
    if liveness.is_unknown():
        yield Finding(
            "scheduler.unknown",
            "Whether a scheduler is alive cannot be known: another session has locked the rows in "
            "which schedulers announce themselves.",
            "If sessions have waited for it for a while, the finding database.waits names it. End "
            "its transaction if nobody needs it.",
        )
    else:
        yield Finding(
            "scheduler.none",
            "No scheduler is alive: schedules, retries and lost messages wait.",
            "Start one: celery -A config beat, or notifications beat where the package is "
            "installed. Two of them survive the death of one.",
        )


def hung() -> Iterator[Finding]:
    """Each scheduler's loops move."""
    for process in liveness.hung():
        yield Finding(
            "scheduler.hung",
            f"The scheduler {process.name} is alive, but one of its loops hangs.",
            "Restart it, and see its log for the last thing that it did.",
        )


def runs() -> Iterator[Finding]:
    """Runs of schedules do not fail, and are not skipped, time after time."""
    # Of a schedule no more than is told: the rest of its row may not be readable.
    failing = streaks.failing().values_list("periodic_task__name", "failed_in_a_row")
    for name, count in failing[:5]:
        yield Finding(
            "scheduler.failing",
            f"The last {count} runs of {name!r} failed.",
            "See their errors in the admin under Failed runs, fix the cause, then replay them.",
        )
    skipping = streaks.skipping().values_list("periodic_task__name", "skipped_in_a_row")
    for name, count in skipping[:5]:
        yield Finding(
            "scheduler.skipping",
            f"The last {count} fires of {name!r} were skipped.",
            "See why in the admin under Fires: a run that takes longer than its interval, no "
            "worker in time, or a scheduler that was away.",
            is_error=False,
        )
    if failed := failures.open_ones().count():
        yield Finding(
            "scheduler.failed_runs",
            f"Failed runs that nobody replayed or discarded: {failed}.",
            "See their causes in the admin under Failed runs; replay or discard them.",
            is_error=False,
        )


def unknown_tasks() -> Iterator[Finding]:
    """Some living worker knows each task that is scheduled."""
    enabled = PeriodicTask.objects.filter(enabled=True)
    missing = workers.unknown(enabled.values_list("task", flat=True).order_by().distinct())
    for task in sorted(missing)[:5]:
        names = list(enabled.filter(task=task).values_list("name", flat=True)[:3])
        yield Finding(
            "scheduler.unknown_task",
            f"No worker knows the task {task!r} of {', '.join(names)}.",
            "Correct the schedule's task, or start a worker that has it (its code, --include).",
        )


def undeclared() -> Iterator[Finding]:
    """The code still declares each schedule that it declared once."""
    if names := declarations.names():
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield Finding(
            "scheduler.undeclared",
            f"Schedules run on that the code no longer declares: {', '.join(names[:5])}{more}.",
            "Remove them: manage.py prune_schedules. Keep one as your own: with --keep NAME.",
            is_error=False,
        )


def quarantined() -> Iterator[Finding]:
    """No schedule is in quarantine."""
    broken = Schedule.objects.filter(quarantined_at__isnull=False)
    for name, reason in broken.values_list("periodic_task__name", "quarantine_reason")[:5]:
        yield Finding(
            "scheduler.quarantined",
            f"The schedule {name!r} is in quarantine: {reason}",
            "Correct it in the admin under Schedules: saving it puts it back to work.",
        )


def overdue() -> Iterator[Finding]:
    """No schedule stands still while a scheduler is alive."""
    if not housekeeping.live_schedulers(clock.now()):
        return
    late = PeriodicTask.objects.filter(pk__in=standing.keys(clock.now())).order_by("pk")
    for name in late.values_list("name", flat=True)[:5]:
        yield Finding(
            "scheduler.overdue",
            f"The schedule {name!r} has been due, or changed, for over "
            f"{standing.LONG.total_seconds():.0f} s, and no scheduler moves it on.",
            "See a scheduler's log: it names a schedule whose row cannot be written (a trigger of "
            "the database may refuse it). If there are many, start another scheduler.",
        )


PROBES = (schedulers, hung, quarantined, overdue, runs, unknown_tasks, undeclared)
