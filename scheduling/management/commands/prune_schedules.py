"""``manage.py prune_schedules``: remove schedules that were taken out of the code."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduling import declarations
from scheduling.management.questions import confirm


class Command(BaseCommand):
    """Removes what ``beat_schedule`` and ``@jobs.job`` no longer declare."""

    help = (
        "Delete the schedules that beat_schedule or @jobs.job declared once and the latest "
        "scheduler's code no longer does, with their fires. What people made is left alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Read whether to delete, and what to keep."""
        parser.add_argument("--dry-run", action="store_true", help="Only print their names.")
        parser.add_argument(
            "--keep",
            metavar="NAME",
            action="append",
            default=[],
            help="Keep this schedule: it goes on running, and is no longer listed.",
        )

        parser.add_argument("--no-input", action="store_true", help="Delete without asking.")

    def handle(self, *_: Any, dry_run: bool, keep: list[str], no_input: bool, **__: Any) -> None:
        """Print the name of each schedule that went, or would go.

        Raises ``CommandError`` for a name that is not listed, or for any answer but yes.
        """
        for name in keep:
            if not declarations.keep(name):
                raise CommandError(f"{name!r} is not a schedule that the code no longer declares.")
        names = declarations.names()
        counted = f"{len(names)} schedule{'' if len(names) == 1 else 's'}"
        for name in names:
            self.stdout.write(name)
        if names and not dry_run:
            if not no_input:
                confirm(f"This will delete {counted} and their fires, for good.")
            declarations.prune(names)
        self.stdout.write(f"{'Would remove' if dry_run else 'Removed'} {counted}.")
