"""Forget a recipient: cancel what waits, empty what is kept, and keep suppressions as a hash."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from notifications.core.errors import InvalidField
from notifications.operations import personal_data
from scheduling.management.questions import confirm


class Command(BaseCommand):
    """``manage.py forget RECIPIENT``."""

    help = "Erase a recipient's data: addresses and contents are erased, counts and histories stay."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read who is to be forgotten."""
        parser.add_argument("recipient", help="An address, a number, a token or a URL.")
        parser.add_argument(
            "--project", default="", help="It is the id of a recipient that this project stores."
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Only print what would be erased."
        )
        parser.add_argument("--no-input", action="store_true", help="Do not ask.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Print what was forgotten. Raises ``CommandError`` where something is left to be done."""
        dry_run = options["dry_run"]
        try:
            personal_data.check(options["recipient"], options["project"])
        except InvalidField as error:
            raise CommandError(str(error)) from None
        if not (dry_run or options["no_input"]):
            confirm(f"This will erase all that is kept of {options['recipient']}, for good.")
        if dry_run:
            with transaction.atomic():
                forgotten = personal_data.forget(options["recipient"], project=options["project"])
                transaction.set_rollback(True)
        else:
            forgotten = personal_data.forget(options["recipient"], project=options["project"])
        for name, count in forgotten.items():
            self.stdout.write(f"{name}: {count}")
        if not forgotten:
            self.stdout.write("Nothing is kept of this recipient.")
        if dry_run:
            self.stdout.write("Nothing was changed.")
        elif problem := personal_data.left_to_do(forgotten):
            raise CommandError(problem)
