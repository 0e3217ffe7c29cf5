"""Send one notification from the command line."""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications import submission
from notifications.core.errors import InvalidNotification
from notifications.core.routing import CHANNELS, PRIORITIES
from notifications.models import UNFINISHED, Notification
from notifications.monitoring.throughput import GOOD
from notifications.operations import holds


class Command(BaseCommand):
    """``manage.py send CHANNEL RECIPIENT …``."""

    help = "Send one notification; with --wait print its final status and exit with 1 if it failed."

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
            "--project", help="The project that it belongs to; by default the project default."
        )
        parser.add_argument(
            "--wait",
            type=float,
            metavar="SECONDS",
            help="Wait at most so long for its final status.",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Print its id, and with ``--wait`` its status.

        Raises ``CommandError`` if it was refused, or with ``--wait`` not sent.
        """
        names = (
            *("channel", "recipient", "template", "context", "subject", "body", "priority"),
            *("countdown", "idempotency_key", "reference", "project"),
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
            if notification.status in GOOD:
                self.stdout.write(notification.status)
                return
            if notification.status not in UNFINISHED:
                raise CommandError(f"{notification.status.capitalize()}: {_why(notification)}.")
            time.sleep(0.1)
        why = _why(notification)
        if found := holds.covering(notification):
            commands = " and ".join(f"manage.py release {hold}" for hold in found)
            raise CommandError(
                f"Still {notification.status} after {seconds:g} s: it is held. "
                f"To end the hold: {commands}."
            )
        raise CommandError(
            f"Still {notification.status} after {seconds:g} s{f': {why}' if why else ''}. "
            "Is a worker running? manage.py doctor tells more."
        )


def _why(notification: Notification) -> str:
    """Return why it is in its state, with the last attempt's answer; without a full stop."""
    words = [notification.reason]
    if attempt := notification.attempts.order_by("number").last():
        answer = f"{attempt.code} {attempt.detail}".strip()
        words.append(f"{attempt.provider or 'no provider'} answered {answer or attempt.result}")
    return ", ".join(filter(None, words)).rstrip(".")
