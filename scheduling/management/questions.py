"""What a command asks before it deletes."""

import sys

from django.core.management.base import CommandError


def confirm(what: str) -> None:
    """Ask a person. Raises ``CommandError`` for any answer but yes, or for none."""
    if not sys.stdin.isatty():
        raise CommandError(f"{what} Say --no-input where nobody can be asked, or --dry-run.")
    if input(f"{what} Type yes to go on: ").strip().lower() != "yes":
        raise CommandError("Nothing was changed.")
