"""After a database was restored: end what the lost one has done already."""

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.db import clock
from notifications.management import progress
from notifications.models import WAITING, Notification
from notifications.submission import cancel
from scheduling import after_restore
from scheduling.job_schema import InvalidJob
from scheduling.rule_documents import moment_of


class Command(BaseCommand):
    """``manage.py after_restore --stopped-at MOMENT``, before any process runs on the database."""

    help = (
        "End what was due until the old system stopped: waiting notifications are cancelled, and "
        "schedules go on with their first due time after it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Read the moment."""
        parser.add_argument(
            "--stopped-at",
            required=True,
            metavar="MOMENT",
            help="When the old system stopped, like 2026-03-01T12:00:00+00:00.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only print how many.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Print how many of each. Raises ``CommandError`` if the moment cannot be read."""
        moment = _moment(options["stopped_at"])
        waiting = Notification.objects.filter(status__in=WAITING, scheduled_at__lte=moment)
        ids = list(waiting.values_list("id", flat=True))
        if options["dry_run"]:
            schedules, fires = after_restore.due_until(moment)
            self.stdout.write(
                f"Would cancel {len(ids)} notifications and {fires} runs, and pass over due times "
                f"of {schedules} schedules."
            )
            return
        schedules, fires = after_restore.pass_over(moment)
        cancelled = 0
        with progress.shown_on(self.stderr, total=len(ids)) as report:
            for id_ in ids:
                cancelled += cancel(id_).cancelled
                report(1)
        self.stdout.write(
            f"Cancelled {cancelled} notifications and {fires} runs, and passed over due times of "
            f"{schedules} schedules."
        )


def _moment(text: str) -> datetime:
    try:
        moment = moment_of(text, field="--stopped-at")
    except InvalidJob as error:
        raise CommandError(f"{error.field}: {error}") from None
    if moment > clock.now():
        raise CommandError(f"--stopped-at: {text!r} is not past.")
    return moment
