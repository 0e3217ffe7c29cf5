"""Failed deliveries, one by one; ``causes`` shows them by cause."""

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from notifications.admin import causes, disclosure
from notifications.admin.base import ReadOnlyAdmin, answer, labelled, who, with_dialog
from notifications.admin.project import ProjectFilter
from notifications.core.errors import ReplayRefused
from notifications.core.masking import without_addresses
from notifications.delivery import failed_deliveries
from notifications.models import BulkReplay, FailedDelivery
from notifications.operations import replays

STATES = {"open": "danger", "replayed": "success", "discarded": "info"}


class DiscardDialog(BaseDialogForm):  # type: ignore[misc]  # unfold has no types
    """Why it need not be delivered any more."""

    reason = forms.CharField(max_length=255, widget=UnfoldAdminTextInputWidget)


@admin.register(FailedDelivery)
class FailedDeliveryAdmin(ReadOnlyAdmin):
    """Read-only, but for replay and discard."""

    list_display = (
        "created_at",
        "shown_state",
        "channel",
        "priority",
        "reason",
        "code",
        "provider",
        "gist",
        "to",
        "template",
    )
    sortable_by = ()
    listed_lookups = ("fingerprint",)
    list_filter = ("state", "channel", "priority", "reason", ProjectFilter)
    ordering = ("-id",)
    search_fields = ("=fingerprint",)
    search_help_text = "The exact fingerprint of a cause."
    actions = ("replay_selected",)
    actions_detail = ("replay", "discard")
    list_before_template = "notifications/admin/causes_link.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("state", "created_at"),
                    ("channel", "priority"),
                    ("reason", "error_class"),
                    ("code", "provider"),
                    "said",
                    "shown_notification",
                )
            },
        ),
        ("History", {"fields": ("shown_history", "shown_request", "fingerprint")}),
        (
            "What was done about it",
            {"fields": (("resolved_by", "resolved_at"), "resolution", "shown_replay")},
        ),
    )
    readonly_fields = (
        "said",
        "shown_history",
        "shown_request",
        "shown_notification",
        "shown_replay",
    )

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        name = "notifications_faileddelivery"
        return [
            path(
                "causes/", wrap(partial(causes.overview, model_admin=self)), name=f"{name}_causes"
            ),
            path(
                "causes/<slug:fingerprint>/replay/",
                wrap(partial(causes.replay, model_admin=self)),
                name=f"{name}_replay_cause",
            ),
            path(
                "causes/<slug:fingerprint>/discard/",
                wrap(partial(causes.discard, model_admin=self)),
                name=f"{name}_discard_cause",
            ),
            *super().get_urls(),
        ]

    def has_replay_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(request.user.has_perm("notifications.replay_faileddelivery"))

    def has_discard_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(request.user.has_perm("notifications.discard_faileddelivery"))

    def get_queryset(self, request: HttpRequest) -> "QuerySet[FailedDelivery]":
        rows: QuerySet[FailedDelivery] = super().get_queryset(request)
        return (
            disclosure.noted(rows, request)
            .annotate(
                recipient=F("notification__recipient"),
                template_name=F("notification__template_version__template__name"),
            )
            .defer("history", "request")
        )

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[FailedDelivery]", search_term: str
    ) -> tuple["QuerySet[FailedDelivery]", bool]:
        """Find a cause by an index: Django's own search compares capitals, which none has."""
        term = search_term.strip().lower()
        return queryset.filter(fingerprint=term) if term else queryset, False

    @admin.display(description="Detail", empty_value="-")
    def gist(self, dead: FailedDelivery) -> str:
        return Truncator(without_addresses(dead.detail)).chars(80) or "-"

    @admin.display(description="Recipient")
    def to(self, dead: FailedDelivery) -> str:
        recipient: str | None = getattr(dead, "recipient", None)
        if recipient is None:
            return "-"
        return disclosure.address(dead, recipient)

    @admin.display(description="Template")
    def template(self, dead: FailedDelivery) -> str:
        return getattr(dead, "template_name", None) or "-"

    @labelled("State", STATES)
    def shown_state(self, dead: FailedDelivery) -> str:
        return dead.state

    @admin.display(description="Detail")
    def said(self, dead: FailedDelivery) -> str:
        """Return the provider's words without addresses."""
        return without_addresses(dead.detail)

    @admin.display(description="Attempts")
    def shown_history(self, dead: FailedDelivery) -> SafeString:
        return format_html_join(
            "",
            "<p>{}. {} {} {} {}</p>",
            (
                (
                    a["number"],
                    a["finished_at"],
                    a["result"],
                    a["code"],
                    without_addresses(a["detail"]),
                )
                for a in dead.history
            ),
        ) or format_html("{}", "None: it was refused before it became a notification.")

    @admin.display(description="What was asked for")
    def shown_request(self, dead: FailedDelivery) -> SafeString | str:
        if dead.request is None:
            return "See the notification."
        # The fields' names tell what was wrong; their values may be a person's own.
        return ", ".join(sorted(map(str, dead.request))) or "nothing"

    @admin.display(description="Notification")
    def shown_notification(self, dead: FailedDelivery) -> SafeString | str:
        return _link(dead.notification_id)

    @admin.display(description="Replayed as")
    def shown_replay(self, dead: FailedDelivery) -> SafeString | str:
        return _link(dead.replayed_as_id)

    @admin.action(description="Send again now", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, chosen: "QuerySet[FailedDelivery]") -> None:
        sent = 0
        for dead in chosen:
            try:
                replays.replay(dead, by=who(request))
            except ReplayRefused as error:
                self.message_user(request, f"{dead}: {error}", messages.WARNING)
            else:
                self.log_change(request, dead, "Replayed.")
                sent += 1
        self.message_user(request, f"Accepted {sent} again.")

    @with_dialog(
        "Send again",
        "replay",
        "replay",
        {
            "title": "Send it again?",
            "description": "As a new notification, linked to the old one.",
            "form_submit_text": "Send again",
        },
    )
    def replay(self, request: HttpRequest, _form: BaseDialogForm, object_id: int) -> HttpResponse:
        dead = FailedDelivery.objects.get(pk=object_id)
        try:
            again = replays.replay(dead, by=who(request))
        except ReplayRefused as error:
            return answer(request, _page(dead), str(error), failed=True)
        self.log_change(request, dead, f"Replayed as {again.id}.")
        where = reverse("admin:notifications_notification_change", args=[again.id])
        return answer(request, where, "Accepted again: this is the new notification.")

    @with_dialog(
        "Discard",
        "discard",
        "delete",
        {
            "title": "Discard it?",
            "description": "It stays in the list as discarded, with your reason.",
            "form_class": DiscardDialog,
            "form_submit_text": "Discard",
        },
    )
    def discard(self, request: HttpRequest, form: DiscardDialog, object_id: int) -> HttpResponse:
        dead = FailedDelivery.objects.get(pk=object_id)
        why = form.cleaned_data["reason"]
        letters = FailedDelivery.objects.filter(pk=dead.pk)
        if not failed_deliveries.discard(letters, why=why, by=who(request)):
            return answer(request, _page(dead), "It was replayed or discarded before.", failed=True)
        self.log_change(request, dead, f"Discarded: {why}")
        return answer(request, _page(dead), "Discarded.")


def _page(dead: FailedDelivery) -> str:
    return reverse("admin:notifications_faileddelivery_change", args=[dead.pk])


def _link(id_: Any) -> SafeString | str:
    if id_ is None:
        return "-"
    where = reverse("admin:notifications_notification_change", args=[id_])
    return format_html('<a class="ntf-link" href="{}">{}</a>', where, id_)


@admin.register(BulkReplay)
class BulkReplayAdmin(ReadOnlyAdmin):
    """Replays of many, with their progress."""

    list_display = ("created_at", "progress", "per_second", "asked_by", "finished_at")
    ordering = ("-id",)

    @admin.display(description="Progress")
    def progress(self, order: BulkReplay) -> str:
        return f"{order.done} of {order.total}"
