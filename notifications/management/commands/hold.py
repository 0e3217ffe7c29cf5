"""Hold back sends, or list what is held."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.core.errors import InvalidField
from notifications.models import Scope
from notifications.operations import holds


class Command(BaseCommand):
    """``manage.py hold [SCOPE [VALUE]]``."""

    help = "Hold back everything, a channel, a queue, an account, a template or a schedule."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read what, and why."""
        parser.add_argument("scope", nargs="?", choices=Scope.values)
        parser.add_argument("value", nargs="?", default="", help="Its name.")
        parser.add_argument("--reason", default="")

    def handle(self, *_: Any, **options: Any) -> None:
        """Hold, or list. Raises ``CommandError`` for what is not there."""
        if options["scope"]:
            try:
                held = holds.hold(options["scope"], options["value"], reason=options["reason"])
            except InvalidField as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"Held: {held}. Nothing of it is claimed from now on.")
            return
        in_force = list(holds.in_force())
        if not in_force:
            self.stdout.write("Nothing is held.")
        for held in in_force:
            self.stdout.write(f"{held}  since {held.created_at:%Y-%m-%d %H:%M} UTC  {held.reason}")
