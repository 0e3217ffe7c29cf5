"""Import a CSV of recipients, as ``POST /recipients/import`` does."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.api import csv_rows, recipient_rows
from notifications.core.errors import InvalidNotification
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.management import progress
from notifications.submission import projects


class Command(BaseCommand):
    """``manage.py import_recipients FILE``."""

    help = "Save the rows of a CSV as recipients, each for itself; the same file may come again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read which file, and whose recipients they are."""
        parser.add_argument("file", type=Path, help="A CSV with a column id.")
        parser.add_argument("--project", default=DEFAULT_PROJECT)
        parser.add_argument("--test", action="store_true", help="Only tests reach them.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Print how many rows were saved and refused, and which columns are attributes.

        Raises ``CommandError`` if a row was refused.
        """
        try:
            world = World(projects.check(options["project"]), options["test"])
            body = options["file"].read_bytes()
            total = sum(1 for _ in _sheet(body).rows())
            with progress.shown_on(self.stderr, total=total) as report:
                found = recipient_rows.save(_sheet(body), world, report)
        except (OSError, csv_rows.UnreadableFile, InvalidNotification) as error:
            raise CommandError(str(error)) from None
        for name in ("created", "changed", "refused", "blank"):
            self.stdout.write(f"{name}: {getattr(found, name)}")
        if found.attributes:
            self.stdout.write(f"attributes: {', '.join(found.attributes)}")
        for refusal in found.errors:
            self.stderr.write(f"line {refusal['line']}, {refusal['field']}: {refusal['detail']}")
        if found.refused:
            raise CommandError(f"{found.refused} rows were refused.")


def _sheet(body: bytes) -> csv_rows.Sheet:
    return csv_rows.read(body, "", (csv_rows.ID,), recipient_rows.FIELDS)
