"""Make a project: a part of the system whose keys see nothing of the others."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.models import Project


class Command(BaseCommand):
    """``manage.py create_project NAME``."""

    help = "Make a project. Its API keys see nothing of other projects. Its name cannot be changed."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read its name."""
        parser.add_argument("name", help="Lower-case letters, digits, and . _ - between them.")
        parser.add_argument("--description", default="")

    def handle(self, *_: Any, **options: Any) -> None:
        """Make it, or raise ``CommandError`` saying why not."""
        row = Project(name=options["name"], description=options["description"])
        try:
            row.full_clean()
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        row.save()
        self.stderr.write(f"Made the project {row.name}: create_api_key NAME --project {row.name}")
