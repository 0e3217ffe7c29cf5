"""The signed links of one-click unsubscribe (RFC 8058) from marketing mail."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.core import signing

from notifications.core.world import DEFAULT_PROJECT, LIVE, World

_signer = signing.Signer(salt="notifications.unsubscribe")


class BadLink(ValueError):
    """The link was not made here."""


class Link(NamedTuple):
    """Whom a link unsubscribes, which message it stood in, and whose that was."""

    channel: str
    recipient: str
    notification: str
    project: str = DEFAULT_PROJECT
    test: bool = False


def url(notification_id: UUID, channel: str, recipient: str, world: World = LIVE) -> str:
    """Make the recipient's link to unsubscribe by; ``""`` where PUBLIC_URL is not set."""
    if not settings.PUBLIC_URL:
        return ""
    whose = [] if world == LIVE else [*world]
    token = _signer.sign_object([channel, recipient, str(notification_id), *whose])
    return f"{settings.PUBLIC_URL}/unsubscribe/{token}"


def headers(link: str) -> Mapping[str, str]:
    """Make the two headers of a marketing mail from its link; none without one.

    They count for a mail program only if the mail is signed (DKIM): by the account's key, or by the
    server that takes it.
    """
    if not link:
        return {}
    return {
        "List-Unsubscribe": f"<{link}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def read(token: str) -> Link:
    """Return what a link says. Raises ``BadLink``."""
    try:
        return Link(*_signer.unsign_object(token))
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise BadLink(type(error).__name__) from None
