"""Read a mail that came back, from standard input."""

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from notifications.callbacks import bounces
from notifications.core.conf import conf

TRY_LATER = 75  # EX_TEMPFAIL of sysexits.h: the mail server keeps the mail
AT_ONCE = 65536  # bytes


class Command(BaseCommand):
    """``manage.py receive_mail``, for a mail server's pipe."""

    help = "Read a bounce, a complaint or an automatic reply from standard input."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read to whom the mail came."""
        parser.add_argument(
            "--recipient",
            default="",
            help="The address of the envelope; ORIGINAL_RECIPIENT or RECIPIENT by default.",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Say what sort of mail it is. Raises ``CommandError`` where the database is away."""
        recipient = (
            options["recipient"]
            or os.environ.get("ORIGINAL_RECIPIENT")
            or os.environ.get("RECIPIENT", "")
        )
        try:
            kind = bounces.take(_mail(), recipient)
        except DatabaseError as error:
            raise CommandError(
                f"The mail cannot be stored now: {type(error).__name__}.", returncode=TRY_LATER
            ) from None
        self.stdout.write(str(kind))


def _mail() -> bytes:
    """Read standard input to its end, and keep as much as a mail may have."""
    most = conf.mail_bytes * 3 // 2
    raw = sys.stdin.buffer.read(most)
    while sys.stdin.buffer.read(AT_ONCE):
        pass
    return raw
