"""Forget a recipient: cancel what waits, empty what is kept, and keep suppressions as a hash."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.operations import personal_data


class Command(BaseCommand):
    """``manage.py forget RECIPIENT``."""

    help = "Erase a recipient's data: addresses and contents are erased, counts and histories stay."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read who is to be forgotten."""
        parser.add_argument("recipient", help="An address, a number, a token or a URL.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Print what was forgotten. Raises ``CommandError`` where something is left to be done."""
        done = personal_data.forget(options["recipient"])
        for name, count in done.items():
            self.stdout.write(f"{name}: {count}")
        if not done:
            self.stdout.write("Nothing is kept of this recipient.")
        if problem := personal_data.left_to_do(done):
            raise CommandError(problem)
