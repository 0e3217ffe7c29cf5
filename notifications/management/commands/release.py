"""Release what was held back."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.models import Scope
from notifications.operations import holds


class Command(BaseCommand):
    """``manage.py release SCOPE [VALUE]``."""

    help = "Release a hold: notifications that it held back are sent."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read which."""
        parser.add_argument("scope", choices=Scope.values)
        parser.add_argument("value", nargs="?", default="", help="Its name.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Release it. Raises ``CommandError`` where nothing is held."""
        if not holds.release(options["scope"], options["value"]):
            raise CommandError("There is no such hold. List the holds with manage.py hold.")
        self.stdout.write("Released.")
