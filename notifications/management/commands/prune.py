"""Delete what is finished and old."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications import retention


class Command(BaseCommand):
    """``manage.py prune``: at once, what the schedulers do a little at a time."""

    help = "Delete finished notifications with their attempts, and old failed deliveries."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read how old is old."""
        parser.add_argument("--days", type=int, help="Default: NOTIFICATIONS_KEEP_DAYS.")
        parser.add_argument(
            "--failed-days", type=int, help="Default: NOTIFICATIONS_KEEP_FAILED_DAYS."
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Print how many notifications went."""
        days, failed_days = options["days"], options["failed_days"]
        if min(days or 0, failed_days or 0) < 0:
            raise CommandError("Days are 0 or more.")
        deleted = retention.prune(days=days, failed_days=failed_days)
        self.stdout.write(f"Deleted {deleted} notifications.")
