"""Print what a receiver checks webhooks and callbacks by."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.core.errors import UnknownProject
from notifications.core.world import DEFAULT_PROJECT
from notifications.providers import accounts
from notifications.submission import projects


class Command(BaseCommand):
    """``manage.py webhook_secrets [--project NAME]``."""

    help = "Print the secrets by which a project's webhooks and callbacks are signed."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read whose."""
        parser.add_argument("--project", default=DEFAULT_PROJECT)

    def handle(self, *_: Any, **options: Any) -> None:
        """Print them, the newest first, or raise ``CommandError``."""
        try:
            project = projects.check(options["project"])
        except UnknownProject as error:
            raise CommandError(f"{error} {error.hint}") from None
        self.stdout.write("\n".join(accounts.webhook_secrets(project)))
