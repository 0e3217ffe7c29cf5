"""What the pages of living and of archived notifications share: all that is read there."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from notifications.admin import content, disclosure, origin, search
from notifications.admin.base import ReadOnlyAdmin, labelled
from notifications.models import NotificationRecord, Status
from notifications.monitoring import timeline

LABELS: dict[str, str] = {
    Status.SCHEDULED: "info",
    Status.QUEUED: "info",
    Status.SENDING: "info",
    Status.SENT: "success",
    Status.DELIVERED: "success",
    Status.FAILED: "danger",
    Status.EXPIRED: "warning",
    Status.SUPPRESSED: "warning",
    Status.CANCELLED: "warning",
    Status.MERGED: "info",
}


class RecordAdmin(ReadOnlyAdmin):
    """Notifications found by what identifies them, and read."""

    list_display = (
        *("created", "short_id", "state", "reason", "queue", "to", "template", "sent_by"),
        "reference",
    )
    # Another order than the newest first would sort the whole table.
    sortable_by = ()
    # What links of our own pages ask by.
    listed_lookups = ("batch", "reference", "reason", "provider", "digest_id")
    list_deferred = ("context", "subject", "body", "metadata", "options", "retry", "continuation")
    ordering = ("-id",)
    search_fields = ("id",)
    search_help_text = (
        "An id, recipient, reference, idempotency key or the provider's id; or a part of a "
        "recent recipient."
    )
    change_form_before_template = "notifications/admin/timeline.html"
    readonly_fields = (
        *("to", "shown_context", "shown_metadata", "shown_options", "shown_content", "shown_mail"),
        "comes_from",
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("channel", "priority"),
                    ("to", "status"),
                    ("reason", "provider", "account"),
                    ("project", "test"),
                )
            },
        ),
        (
            "Content",
            {"fields": ("template_version", "shown_content", "shown_mail", "shown_context")},
        ),
        (
            "Times",
            {
                "fields": (
                    ("created_at", "scheduled_at"),
                    ("due_at", "expires_at"),
                    ("sent_at", "finished_at"),
                )
            },
        ),
        (
            "Origin",
            {
                "fields": (
                    ("reference", "idempotency_key"),
                    ("guarantee", "attempt_count"),
                    ("retry", "locale"),
                    "shown_metadata",
                    "shown_options",
                    "comes_from",
                )
            },
        ),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[NotificationRecord]", search_term: str
    ) -> tuple["QuerySet[NotificationRecord]", bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        rows, parts = self.model.objects.all(), disclosure.may_see(request)
        return queryset.filter(id__in=search.find(rows, term, parts=parts)), False

    def get_queryset(self, request: HttpRequest) -> "QuerySet[NotificationRecord]":
        rows: QuerySet[NotificationRecord] = super().get_queryset(request)
        named = rows.annotate(template_name=F("template_version__template__name"))
        return disclosure.noted(named, request)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        notification = self.get_object(request, object_id)
        masked = not disclosure.may_see(request)
        story = timeline.of(notification, masked=masked) if notification else []
        context = {**(extra_context or {}), "timeline": story}
        response: HttpResponse = super().change_view(request, object_id, form_url, context)
        return response

    @admin.display(description="Id")
    def short_id(self, notification: NotificationRecord) -> SafeString:
        return format_html('<span class="ntf-nowrap">…{}</span>', str(notification.id)[-8:])

    @admin.display(description="Queue")
    def queue(self, notification: NotificationRecord) -> str:
        return notification.queue

    @labelled("Status", LABELS)
    def state(self, notification: NotificationRecord) -> str:
        return notification.status

    @admin.display(description="Template", empty_value="-")
    def template(self, notification: NotificationRecord) -> str | None:
        return getattr(notification, "template_name", None)

    @admin.display(description="Account", empty_value="-")
    def sent_by(self, notification: NotificationRecord) -> str | None:
        return notification.provider or None

    @admin.display(description="Created")
    def created(self, notification: NotificationRecord) -> SafeString:
        return format_html(
            '<span class="ntf-nowrap">{}</span>',
            f"{localtime(notification.created_at):%Y-%m-%d %H:%M:%S %Z}",
        )

    @admin.display(description="Recipient")
    def to(self, notification: NotificationRecord) -> str:
        return disclosure.address(notification, notification.recipient)

    @admin.display(description="Context")
    def shown_context(self, notification: NotificationRecord) -> SafeString | str:
        return _for_eyes(notification, lambda: _json(notification.context))

    @admin.display(description="Options")
    def shown_options(self, notification: NotificationRecord) -> SafeString | str:
        return _for_eyes(notification, lambda: _json(notification.options or {}))

    @admin.display(description="Beside subject and body")
    def shown_mail(self, notification: NotificationRecord) -> SafeString | str:
        kept = notification.mail.fields if notification.mail else {}
        return _for_eyes(notification, lambda: _json(kept))

    @admin.display(description="Metadata")
    def shown_metadata(self, notification: NotificationRecord) -> SafeString | str:
        return _for_eyes(notification, lambda: _json(notification.metadata))

    @admin.display(description="As the recipient sees it")
    def shown_content(self, notification: NotificationRecord) -> SafeString | str:
        return _for_eyes(notification, lambda: _content(notification))

    @admin.display(description="Comes from")
    def comes_from(self, notification: NotificationRecord) -> SafeString | str:
        return origin.links(notification)


def _for_eyes(notification: NotificationRecord, show: Callable[[], SafeString]) -> SafeString | str:
    """Show the value if the row is annotated as visible to this user; hide it otherwise."""
    return show() if disclosure.is_open(notification) else disclosure.HIDDEN


def _json(value: object) -> SafeString:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="whitespace-pre-wrap">{}</pre>', text)


def _content(notification: NotificationRecord) -> SafeString:
    return render_to_string(
        "notifications/admin/content.html",
        {"channel": notification.channel, "content": content.of(notification)},
    )
