"""The page behind the unsubscribe links of marketing mail."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from notifications.callbacks import recipient_pages, withdrawals
from notifications.core.world import World
from notifications.models import Notification
from notifications.recipients import preference_links, unsubscribe_links

TEMPLATE = "notifications/unsubscribe.html"


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest, token: str) -> HttpResponse:
    """Show a confirmation on GET, because scanners follow links; unsubscribe on POST (RFC 8058)."""
    try:
        link = unsubscribe_links.read(token)
    except unsubscribe_links.BadLink:
        with recipient_pages.in_language_of(request, ""):
            return recipient_pages.answer(request, TEMPLATE, {"state": "forged"}, status=404)
    row = Notification.objects.filter(id=link.notification).first()
    with recipient_pages.in_language_of(request, row.locale if row else ""):
        context = {"state": "question"}
        if request.method == "POST":
            context = {"state": "done", "more": _withdrawn(link, row)}
        return recipient_pages.answer(request, TEMPLATE, context)


def _withdrawn(link: unsubscribe_links.Link, row: Notification | None) -> str:
    """Unsubscribe, and return the link to the page of preferences of who is stored."""
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
    if row is None or not row.recipient_key:
        return ""
    return preference_links.url(world, row.recipient_key)
