"""The built-in outbox: each captured message as its recipient would see it."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.decorators import staff_member_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse

from notifications.admin import disclosure
from notifications.models import OutboxMessage

PAGE = 30


@staff_member_required
def outbox(request: HttpRequest) -> HttpResponse:
    """List what was captured, the newest first."""
    captured = OutboxMessage.objects.order_by("-captured_at")
    try:
        page = max(int(request.GET.get("page", 1)), 1)
    except ValueError:
        page = 1
    rows = list(captured[(page - 1) * PAGE : page * PAGE + 1])
    context = {"captured": rows[:PAGE], "page": page, "has_more": len(rows) > PAGE}
    return _answer(request, "outbox.html", {"title": "Outbox", **context})


@staff_member_required
def message(request: HttpRequest, notification: UUID) -> HttpResponse:
    """Show one captured message."""
    captured = get_object_or_404(OutboxMessage, pk=notification)
    title = f"{captured.channel} to {captured.recipient}"
    return _answer(request, "outbox_message.html", {"title": title, "captured": captured})


def _answer(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    if not request.user.has_perms(("notifications.view_outboxmessage", disclosure.SEE_CONTENT)):
        raise PermissionDenied
    everywhere = admin.site.each_context(request)
    return TemplateResponse(request, f"notifications/admin/{template}", {**everywhere, **context})
