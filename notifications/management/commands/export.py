"""Print all data about a recipient, as JSON."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.core.errors import InvalidField
from notifications.operations import personal_data


class Command(BaseCommand):
    """``manage.py export RECIPIENT``."""

    help = "Print all data about a recipient, as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read whose data it is."""
        parser.add_argument("recipient", help="An address, a number, a token or a URL.")
        parser.add_argument(
            "--project", default="", help="It is the id of a recipient that this project stores."
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Print it on standard output. Raises ``CommandError`` if it names no recipient."""
        try:
            personal_data.check(options["recipient"], options["project"])
            kept = personal_data.export(options["recipient"], project=options["project"])
        except InvalidField as error:
            raise CommandError(str(error)) from None
        self.stdout.write(json.dumps(kept, indent=2, ensure_ascii=False))
