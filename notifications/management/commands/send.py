"""Send one notification from the command line."""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications import submission
from notifications.errors import InvalidNotification
from notifications.models import UNFINISHED, Notification
from notifications.routing import CHANNELS, PRIORITIES


class Command(BaseCommand):
    """``manage.py send CHANNEL RECIPIENT …``."""

    help = "Send one notification, and with --wait tell what became of it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read who gets what."""
        parser.add_argument("channel", choices=CHANNELS)
        parser.add_argument("recipient")
        parser.add_argument("--template", help="The name of a published template.")
        parser.add_argument("--context", type=json.loads, help="The template's values, as JSON.")
        parser.add_argument("--subject")
        parser.add_argument("--body")
        parser.add_argument("--priority", choices=PRIORITIES)
        parser.add_argument("--countdown", type=float, metavar="SECONDS", help="Send it later.")
        parser.add_argument("--idempotency-key")
        parser.add_argument("--reference")
        parser.add_argument(
            "--wait", type=float, metavar="SECONDS", help="Wait so long for its end."
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Print its id, and with ``--wait`` its status. Raises ``CommandError`` if refused."""
        names = (
            *("channel", "recipient", "template", "context", "subject", "body", "priority"),
            *("countdown", "idempotency_key", "reference"),
        )
        fields = {name: options[name] for name in names if options[name] is not None}
        try:
            notification = submission.send(**fields)
        except InvalidNotification as error:
            raise CommandError(f"{type(error).__name__}: {error}") from error
        self.stdout.write(str(notification.id))
        if options["wait"]:
            self._tell_the_end(notification, options["wait"])

    def _tell_the_end(self, notification: Notification, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            notification.refresh_from_db(fields=["status", "reason"])
            if notification.status not in UNFINISHED:
                self.stdout.write(f"{notification.status} {notification.reason}".strip())
                return
            time.sleep(0.1)
        raise CommandError(
            f"Still {notification.status} after {seconds:g} s: is a worker running? "
            "manage.py doctor tells more."
        )
