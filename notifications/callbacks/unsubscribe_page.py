"""The page behind the unsubscribe links of marketing mail."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from notifications.core.world import World
from notifications.models import Notification
from notifications.recipients import suppressions, unsubscribe_links
from notifications.recipients.suppressions import Reason, Scope


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest, token: str) -> HttpResponse:
    """Show a confirmation on GET, because scanners follow links; unsubscribe on POST (RFC 8058)."""
    try:
        link = unsubscribe_links.read(token)
    except unsubscribe_links.BadLink:
        return _show(request, "forged", status=404)
    if request.method != "POST":
        return _show(request, "question")
    known = Notification.objects.filter(id=link.notification).values_list("id", flat=True).first()
    suppressions.suppress(
        link.channel,
        link.recipient,
        Reason.UNSUBSCRIBED,
        world=World(link.project, link.test),
        scope=Scope.MARKETING,
        source="unsubscribe page",
        notification_id=known,
    )
    return _show(request, "done")


def _show(request: HttpRequest, state: str, status: int = 200) -> HttpResponse:
    response = render(request, "notifications/unsubscribe.html", {"state": state}, status=status)
    response["Referrer-Policy"] = "no-referrer"  # the address of this page is the secret
    return response
