"""The picture of one point by which a mail tells that it was opened, where its sender asked for it.

It is ours, and its address is signed. Many mail programs load no pictures, and some load all of
them without a reader: it is a hint, not a proof.
"""

from uuid import UUID

from django.conf import settings
from django.core import signing

_signer = signing.Signer(salt="notifications.opened")


def added(html: str, notification_id: UUID) -> str:
    """Return a mail's HTML with the picture at its end; as it is where PUBLIC_URL is not set."""
    if not settings.PUBLIC_URL or not html:
        return html
    address = f"{settings.PUBLIC_URL}/opened/{_signer.sign(str(notification_id))}.gif"
    picture = f'<img src="{address}" width="1" height="1" alt="">'
    head, end, tail = html.rpartition("</body>")
    return f"{head}{picture}{end}{tail}" if end else html + picture


def read(token: str) -> UUID | None:
    """Return the notification that an address is of; None for one that was not made here."""
    try:
        return UUID(_signer.unsign(token))
    except (signing.BadSignature, ValueError):
        return None
