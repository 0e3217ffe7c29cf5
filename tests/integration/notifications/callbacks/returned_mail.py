"""Mails that came back, as mail servers write them.

Those of Exim were written by Exim 4.96; those of Exchange and the complaint have the shape that
these have in the field (RFC 3464, RFC 5965).
"""

from pathlib import Path
from typing import Any

from notifications.channels import return_paths
from notifications.models import Notification
from notifications.submission import send

RETURNED = Path(__file__).parent / "returned"
ADA = "ada@example.org"


def accept(**fields: Any) -> Notification:
    return send(channel="email", **{"recipient": ADA, "subject": "Hello", "body": "Dear", **fields})


def returned(name: str, row: Any, recipient: Any = ADA) -> bytes:
    """Write a mail that came back about a row's."""
    text = (RETURNED / f"{name}.eml").read_text()
    text = text.replace("{return_path}", path_of(row)).replace("{id}", str(row.id))
    return text.replace("{recipient}", recipient).encode()


def path_of(row: Any) -> str:
    return return_paths.of_mail("bounces@shop.example", row.id)
