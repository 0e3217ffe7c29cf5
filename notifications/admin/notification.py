"""Notifications: found by what identifies them, and read; changed by two verbs."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.admin import TabularInline
from unfold.forms import BaseDialogForm

from notifications import submission
from notifications.admin.base import answer, who, with_dialog
from notifications.admin.filters import TemplateFilter, TimeFilter
from notifications.admin.project import ProjectFilter
from notifications.admin.record import RecordAdmin
from notifications.core.errors import ReplayRefused
from notifications.core.masking import without_addresses
from notifications.models import (
    WAITING,
    Attempt,
    Notification,
    Status,
    Suppression,
    in_state,
)
from notifications.operations import replays
from notifications.recipients import suppressions

CANCEL_DIALOG = {
    "title": "Cancel this notification?",
    "description": "It will not be sent. If a worker is sending it now, it cannot be stopped.",
    "form_submit_text": "Cancel it",
}
RESEND_DIALOG = {
    "title": "Send it again?",
    "description": "A new notification with the same content, linked to this one. "
    "It uses the version of the template that is live now.",
    "form_submit_text": "Send again",
}
SUPPRESS_DIALOG = {
    "title": "Stop sending to this recipient?",
    "description": "Nothing is sent to them over this channel until the suppression is lifted.",
    "form_submit_text": "Suppress",
}


class StatusFilter(admin.SimpleListFilter):
    """By state. What has not ended has a due time, and an index of its own."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, status.value) for status in Status]

    def queryset(
        self, request: HttpRequest, queryset: "QuerySet[Notification]"
    ) -> "QuerySet[Notification]":
        status = self.value()
        if not status:
            return queryset
        return in_state(queryset, status)


class AttemptInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    """Each try at a provider."""

    model = Attempt
    extra = 0
    can_delete = False
    fields = ("number", "result", "provider", "code", "said", "provider_message_id", "worker")
    readonly_fields = fields

    @admin.display(description="Detail")
    def said(self, attempt: Attempt) -> str:
        """Return the provider's words without addresses; the story has them whole."""
        return without_addresses(attempt.detail)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Notification)
class NotificationAdmin(RecordAdmin):
    """Read-only, but for cancel and resend."""

    list_filter = (
        *(StatusFilter, TimeFilter, "channel", "priority", TemplateFilter),
        ProjectFilter,
    )
    actions = ("cancel_selected", "resend_selected")
    actions_detail = ("cancel", "resend", "suppress")
    inlines = (AttemptInline,)

    def get_actions_detail(self, request: HttpRequest, object_id: UUID) -> list[Any]:
        """Offer to cancel only what still waits."""
        offered: list[Any] = super().get_actions_detail(request, object_id)
        if Notification.objects.filter(pk=object_id, status__in=WAITING).exists():
            return offered
        return [action for action in offered if action.path != "cancel"]

    def has_cancel_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(request.user.has_perm("notifications.cancel_notification"))

    def has_suppress_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(request.user.has_perm("notifications.add_suppression"))

    def has_resend_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(request.user.has_perm("notifications.resend_notification"))

    @admin.action(description="Cancel those that are waiting", permissions=["cancel"])
    def cancel_selected(self, request: HttpRequest, chosen: "QuerySet[Notification]") -> None:
        outcomes = [self._cancel(request, notification) for notification in chosen]
        self.message_user(request, f"Cancelled {sum(outcomes)} of {len(outcomes)}.")

    @admin.action(description="Send again, as new notifications", permissions=["resend"])
    def resend_selected(self, request: HttpRequest, chosen: "QuerySet[Notification]") -> None:
        sent = 0
        for notification in chosen:
            try:
                self._resend(request, notification)
                sent += 1
            except ReplayRefused as error:
                self.message_user(request, f"{notification}: {error}", messages.WARNING)
        self.message_user(request, f"Accepted {sent} again.")

    @with_dialog("Cancel", "cancel", "block", CANCEL_DIALOG)
    def cancel(self, request: HttpRequest, _form: BaseDialogForm, object_id: UUID) -> HttpResponse:
        notification = Notification.objects.get(pk=object_id)
        if self._cancel(request, notification):
            return answer(request, _page(notification), "Cancelled.")
        return answer(request, _page(notification), "Too late to cancel it.", failed=True)

    @with_dialog("Send again", "resend", "replay", RESEND_DIALOG)
    def resend(self, request: HttpRequest, _form: BaseDialogForm, object_id: UUID) -> HttpResponse:
        notification = Notification.objects.get(pk=object_id)
        try:
            again = self._resend(request, notification)
        except ReplayRefused as error:
            return answer(request, _page(notification), str(error), failed=True)
        return answer(request, _page(again), "Accepted again: this is the new notification.")

    @with_dialog("Suppress", "suppress", "do_not_disturb_on", SUPPRESS_DIALOG)
    def suppress(
        self, request: HttpRequest, _form: BaseDialogForm, object_id: UUID
    ) -> HttpResponse:
        notification = Notification.objects.get(pk=object_id)
        suppressions.suppress(
            notification.channel,
            notification.recipient,
            Suppression.Reason.OPERATOR,
            world=notification.world,
            source="admin",
            notification_id=notification.id,
            by=who(request),
        )
        self.log_change(request, notification, "Suppressed its recipient.")
        return answer(
            request, _page(notification), "Nothing more is sent to its recipient over this channel."
        )

    def _cancel(self, request: HttpRequest, notification: Notification) -> bool:
        cancelled = bool(submission.cancel(notification.id))
        if cancelled:
            self.log_change(request, notification, "Cancelled.")
        return cancelled

    def _resend(self, request: HttpRequest, notification: Notification) -> Notification:
        again = replays.resend(notification, by=who(request))
        self.log_change(request, notification, f"Sent again as {again.id}.")
        return again


def _page(notification: Notification) -> str:
    return reverse("admin:notifications_notification_change", args=[notification.id])
