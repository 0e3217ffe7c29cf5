"""Read mail that came back, from standard input or from a mailbox."""

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from notifications.callbacks import bounces, mailbox
from notifications.core.conf import conf

TRY_LATER = 75  # EX_TEMPFAIL of sysexits.h: the mail server keeps the mail
AT_ONCE = 65536  # bytes


class Command(BaseCommand):
    """``manage.py receive_mail``: for a mail server's pipe, or with ``--mailbox`` for a timer."""

    help = "Read bounces, complaints and automatic replies from standard input or a mailbox."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read to whom the mail came."""
        parser.add_argument(
            "--mailbox", action="store_true", help="Read what is unseen in BOUNCE_MAILBOX instead."
        )
        parser.add_argument(
            "--recipient",
            default="",
            help="The address of the envelope; ORIGINAL_RECIPIENT or RECIPIENT by default.",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Say what sort of mail it is, and how much of each sort was in the mailbox.

        Raises ``CommandError`` where the database or the mailbox is away.
        """
        try:
            if options["mailbox"]:
                self._read_mailbox()
            else:
                self.stdout.write(str(bounces.take(_mail(), options["recipient"] or _recipient())))
        except DatabaseError as error:
            raise CommandError(
                f"The mail cannot be stored now: {type(error).__name__}.", returncode=TRY_LATER
            ) from None
        except mailbox.MailboxAway as error:
            raise CommandError(
                f"The mailbox cannot be read now: {error}.", returncode=TRY_LATER
            ) from None

    def _read_mailbox(self) -> None:
        read = mailbox.take_unseen(_mailbox())
        for kind, count in sorted(read.taken.items()):
            self.stdout.write(f"{kind}: {count}")
        if read.problem:
            raise CommandError(
                f"{len(read.faulty)} mails stay unread, of which {read.problem}.",
                returncode=TRY_LATER,
            )


def _mailbox() -> mailbox.Mailbox:
    try:
        return mailbox.read_url(settings.BOUNCE_MAILBOX)
    except ValueError as error:
        raise CommandError(f"BOUNCE_MAILBOX: {error}") from None


def _recipient() -> str:
    return os.environ.get("ORIGINAL_RECIPIENT") or os.environ.get("RECIPIENT", "")


def _mail() -> bytes:
    """Read standard input to its end, and keep as much as a mail may have."""
    most = conf.mail_bytes * 3 // 2
    raw = sys.stdin.buffer.read(most)
    while sys.stdin.buffer.read(AT_ONCE):
        pass
    return raw
