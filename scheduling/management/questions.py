"""What a command asks before it deletes."""

import sys

from django.core.management.base import CommandError


def confirm(question: str) -> None:
    """Ask a person. Raises ``CommandError`` for any answer but yes, or for none."""
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Say --no-input where nobody can be asked, or --dry-run.")
    if input(f"{question} Type yes to go on: ").strip().lower() != "yes":
        raise CommandError("Nothing was changed.")
