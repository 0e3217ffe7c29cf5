"""One-click unsubscribe (RFC 8058) from marketing mail, by signed links."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from notifications import suppressions
from notifications.models import Notification
from notifications.suppressions import Reason, Scope

_signer = signing.Signer(salt="notifications.unsubscribe")


class Link(NamedTuple):
    """Whom a link unsubscribes, and which message it stood in."""

    channel: str
    recipient: str
    notification: str


def headers(notification_id: UUID, channel: str, recipient: str) -> Mapping[str, str]:
    """Make the two headers of a marketing mail; none where PUBLIC_URL is not set.

    They count for a mail program only if the mail is signed (DKIM) by the server that takes it.
    """
    if not settings.PUBLIC_URL:
        return {}
    token = _signer.sign_object([channel, recipient, str(notification_id)])
    return {
        "List-Unsubscribe": f"<{settings.PUBLIC_URL}/unsubscribe/{token}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest, token: str) -> HttpResponse:
    """Ask on GET, for scanners follow links; unsubscribe on POST, of a person or a mail program."""
    try:
        link = Link(*_signer.unsign_object(token))
    except (signing.BadSignature, ValueError, TypeError):
        return _show(request, "forged", status=404)
    if request.method != "POST":
        return _show(request, "question")
    known = Notification.objects.filter(id=link.notification).values_list("id", flat=True).first()
    suppressions.suppress(
        link.channel,
        link.recipient,
        Reason.UNSUBSCRIBED,
        scope=Scope.MARKETING,
        source="unsubscribe page",
        notification_id=known,
    )
    return _show(request, "done")


def _show(request: HttpRequest, state: str, status: int = 200) -> HttpResponse:
    response = render(request, "notifications/unsubscribe.html", {"state": state}, status=status)
    response["Referrer-Policy"] = "no-referrer"  # the address of this page is the secret
    return response
