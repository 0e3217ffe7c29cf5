"""Events with what each has caused, and the rules."""

import json
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from notifications.admin import disclosure
from notifications.admin.base import ReadOnlyAdmin
from notifications.admin.project import FormOfProject, ProjectFilter
from notifications.core.errors import InvalidNotification
from notifications.core.masking import without_addresses
from notifications.events import rules
from notifications.models import Event, EventEffect, EventRule, Notification


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """What happened, and what each rule made of it."""

    list_display = ("name", "key", "project", "test", "made", "created_at")
    list_filter = ("test", ProjectFilter)
    ordering = ("-created_at", "-id")
    search_fields = ("=id", "=key", "=name")
    search_help_text = "The exact id, key or name."
    sortable_by = ()
    fields = ("name", "key", "project", "test", "created_at", "shown_data", "caused", "cancelled")
    readonly_fields = ("shown_data", "caused", "cancelled")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Event]":
        rows: QuerySet[Event] = super().get_queryset(request)
        return disclosure.noted(rows, request).prefetch_related("effects")

    @admin.display(description="Caused")
    def made(self, event: Event) -> int:
        return sum(effect.notification_id is not None for effect in event.effects.all())

    @admin.display(description="Data")
    def shown_data(self, event: Event) -> SafeString | str:
        if not disclosure.is_open(event):
            return disclosure.HIDDEN
        return format_html("<pre>{}</pre>", json.dumps(event.data, indent=2, ensure_ascii=False))

    @admin.display(description="What it caused")
    def caused(self, event: Event) -> SafeString | str:
        """Return a line for each effect, with a link to the notification."""
        return _lines(event.effects.order_by("pk"))

    @admin.display(description="What it cancelled")
    def cancelled(self, event: Event) -> SafeString | str:
        return _lines(event.cancellations.order_by("pk"))


def _lines(effects: "QuerySet[EventEffect]") -> SafeString | str:
    found = list(effects[:1000])
    ids = [effect.notification_id for effect in found if effect.notification_id is not None]
    there = set(Notification.objects.filter(pk__in=ids).values_list("pk", flat=True))
    lines = []
    for effect in found:
        said = " ".join(filter(None, (effect.outcome, effect.field, effect.cancellation)))
        link = _link(effect.notification_id, there)
        lines.append((effect.rule_name, said, link, without_addresses(effect.detail)))
    return format_html_join(SafeString("<br>"), "{}: {} {} {}", lines) if lines else "-"


def _link(id_: UUID | None, there: set[UUID]) -> SafeString | str:
    """Return a link to a notification, or its id where it has left."""
    if id_ not in there:
        return str(id_ or "")
    where = reverse("admin:notifications_notification_change", args=[id_])
    return format_html('<a class="ntf-link" href="{}">{}</a>', where, id_)


class RuleForm(FormOfProject):
    """A rule, checked as the API checks it."""

    class Meta:
        model = EventRule
        fields = ("project", "test", *rules.FIELDS)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if self.errors:
            return data
        try:
            rules.check(EventRule(**data))
        except InvalidNotification as error:
            self.add_error(error.field.partition(".")[0], str(error))
        return data


@admin.register(EventRule)
class EventRuleAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """What is sent when an event comes."""

    form = RuleForm
    list_display = ("name", "project", "event", "template", "delay", "cancel_on", "enabled")
    list_filter = ("enabled", "channel", ProjectFilter)
    search_fields = ("name", "event", "template")
    fieldsets = (
        (None, {"fields": (("name", "enabled"), ("project", "test"))}),
        ("When", {"fields": (("event", "delay"), "condition")}),
        (
            "What",
            {
                "fields": (
                    *("channel", "template", "recipients", "to", "category", "context"),
                    "priority",
                )
            },
        ),
        ("Cancelled by", {"fields": ("cancel_on", ("match", "cancel_match"))}),
    )
    # What those see who may not see recipients: an expression may hold an address.
    masked_fieldsets = (
        fieldsets[0],
        ("When", {"fields": (("event", "delay"), "masked_condition")}),
        ("What", {"fields": ("channel", "template", "masked_recipients", "category", "priority")}),
        fieldsets[3],
    )
    readonly_fields = ("masked_condition", "masked_recipients")

    def get_fieldsets(self, request: HttpRequest, obj: EventRule | None = None) -> Any:
        if obj is None or disclosure.may_see(request):
            return self.fieldsets
        return self.masked_fieldsets

    @admin.display(description="Condition")
    def masked_condition(self, rule: EventRule) -> str:
        return without_addresses(rule.condition) or "-"

    @admin.display(description="Recipients")
    def masked_recipients(self, rule: EventRule) -> str:
        return without_addresses(rule.recipients or rule.to)
