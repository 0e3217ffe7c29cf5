"""Make, or remove, the index by which audiences compare an attribute of recipients by size."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from notifications.audiences import filters, sql


class Command(BaseCommand):
    """``manage.py index_attribute PATH``."""

    help = (
        "Make the index by which filters of audiences compare an attribute with lt, lte, gt and"
        " gte. Others read and write meanwhile."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Read which attribute."""
        parser.add_argument("path", help="Like spent, or order.total for an inner one.")
        parser.add_argument("--kind", choices=sql.KINDS, default=sql.NUMBER)
        parser.add_argument("--drop", action="store_true", help="Remove it instead.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Make or remove it. Raises ``CommandError`` for what is not the path of an attribute."""
        kind = options["kind"]
        path = options["path"].removeprefix(filters.ATTRIBUTES).split(".")
        fits = all(filters.COMPARED_KEY.fullmatch(key) for key in path)
        if not fits or len(path) > filters.LONGEST_PATH:
            raise CommandError("A path has keys of letters, digits, - and _, with dots between.")
        if not options["drop"] and sql.has_index_of(path, kind):
            self.stdout.write("The index is there already.")
            return
        with connection.cursor() as cursor:
            # One that an interruption has left is not valid, and would stay so.
            cursor.execute(sql.drop_index(path, kind))
            if not options["drop"]:
                cursor.execute(sql.create_index(path, kind))
        self.stdout.write("Removed." if options["drop"] else "The index is made.")
