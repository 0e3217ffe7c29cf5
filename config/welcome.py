"""The welcome notification and the panel of ``make up``.

The notification shows at each start that the whole chain works; the panel shows where things are.
"""

import time
import urllib.error
import urllib.request
from uuid import UUID

from django.conf import settings
from django.db import connections
from environs import Env
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from notifications.models import UNFINISHED, Notification, Status
from notifications.submission import send

ANSWER_SECONDS = 60.0
SUBJECT = "Welcome"
BODY = (
    "This message went the way of every notification: it was stored, queued, taken by a worker, "
    "and handed to its channel."
)
HAPPY = (Status.SENT, Status.DELIVERED)


def welcome(web: str, flower: str, smtp: str, login: str) -> None:
    """Send the welcome notification, wait until it is through, and print the panel.

    ``web`` and ``flower`` are addresses like ``http://localhost:8000``, ``smtp`` is a host and
    port; ``login`` says as whom to log in to the admin.
    """
    started = time.monotonic()
    notification = send_welcome()
    status = _wait_until_final(notification)
    seconds = time.monotonic() - started
    connections.close_all()
    rows = {
        "Welcome notification": f"{status} after {seconds:.1f} s",
        "Admin": f"{web}/admin/",
        "Log in as": login,
        "Outbox": f"{web}/outbox/",
        "API docs": f"{web}/api/v1/docs",
        "Flower": flower,
        "SMTP": smtp,
    }
    silent = [address for address in (f"{web}/admin/login/", flower) if not _answers(address)]
    happy = status in HAPPY and not silent
    table = Table.grid(padding=(0, 2))
    for name, text in rows.items():
        table.add_row(name, text)
    if silent:
        table.add_row("No answer from", ", ".join(silent))
    table.add_row("", "Ctrl-C stops everything; the data stays.")
    Console(highlight=False, soft_wrap=True).print(
        Panel(table, title="Notifications", expand=False, border_style="green" if happy else "red")
    )


def send_welcome() -> UUID:
    """Submit it, and return its id.

    It goes to ADMIN_EMAIL. Without that and with a real mail server, nobody is written to: the
    simulator takes it.
    """
    recipient = Env().str("ADMIN_EMAIL", default="")
    if settings.EMAIL_URL and not recipient:
        return send(channel="simulator", recipient="welcome", subject=SUBJECT, body=BODY).id
    return send(
        channel="email", recipient=recipient or "admin@localhost", subject=SUBJECT, body=BODY
    ).id


def _wait_until_final(notification: UUID) -> str:
    """Return its status once it has left the unfinished ones, or after a minute."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while (status := _status(notification)) in UNFINISHED and time.monotonic() < deadline:
        time.sleep(0.1)
    return status


def _status(notification: UUID) -> str:
    return Notification.objects.values_list("status", flat=True).get(id=notification)


def _answers(address: str) -> bool:
    """Wait until a web server answers there, with whatever status."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 -- our own address
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False
