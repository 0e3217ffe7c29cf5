"""The page behind the unsubscribe links of marketing mail."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from notifications.callbacks import withdrawals
from notifications.core.world import World
from notifications.models import Notification
from notifications.recipients import preference_links, unsubscribe_links


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
    row = Notification.objects.filter(id=link.notification).first()
    world = World(link.project, link.test)
    withdrawals.take(
        withdrawals.UNSUBSCRIBED,
        link.channel,
        link.recipient,
        world=world,
        source="unsubscribe page",
        notification_id=row.id if row else None,
        category=row.category if row else "",
    )
    more = ""
    if row is not None and row.recipient_key:
        more = preference_links.url(world, row.recipient_key)
    return _show(request, "done", more=more)


def _show(request: HttpRequest, state: str, status: int = 200, more: str = "") -> HttpResponse:
    context = {"state": state, "more": more}
    response = render(request, "notifications/unsubscribe.html", context, status=status)
    response["Referrer-Policy"] = "no-referrer"  # the address of this page is the secret
    return response
