"""Take what is finished and old out of the live table."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.maintenance import archive, retention
from notifications.management import progress
from scheduling.management.questions import confirm


class Command(BaseCommand):
    """``manage.py prune``: at once, what the schedulers do a little at a time."""

    help = (
        "Delete finished notifications with their attempts, or archive them where that is on, and "
        "delete old failed deliveries and old months of the archive."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Read how old is old."""
        parser.add_argument("--days", type=int, help="Default: NOTIFICATIONS_KEEP_DAYS.")
        parser.add_argument(
            "--failed-days", type=int, help="Default: NOTIFICATIONS_KEEP_FAILED_DAYS."
        )
        parser.add_argument(
            "--archive-months", type=int, help="Default: NOTIFICATIONS_ARCHIVE_MONTHS."
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Only print how many would be deleted."
        )
        parser.add_argument(
            "--no-input",
            action="store_true",
            help="Do not ask for confirmation if settings are overridden.",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Print how many notifications and months went."""
        days, failed_days, months = (
            options[name] for name in ("days", "failed_days", "archive_months")
        )
        if min(days or 0, failed_days or 0, months or 0) < 0:
            raise CommandError("Days and months are 0 or more.")
        count = retention.old(days=days, failed_days=failed_days)
        verb = "archive" if archive.is_on() else "delete"
        if options["dry_run"]:
            self.stdout.write(f"Would {verb} {count} {_noun(count)}.")
            return
        # By the settings it does what the schedulers do anyway; anything else somebody must mean.
        if {days, failed_days, months} != {None} and not options["no_input"]:
            confirm(f"This will {verb} {count} {_noun(count)}, for good.")
        with progress.shown_on(self.stderr, total=count) as report:
            left = retention.prune(days=days, failed_days=failed_days, report=report)
        self.stdout.write(f"{verb.capitalize()}d {left} {_noun(left)}.")
        if archive.is_on() or months is not None:
            self.stdout.write(f"Months of the archive that were dropped: {archive.drop(months)}.")


def _noun(count: int) -> str:
    return "notification" if count == 1 else "notifications"
