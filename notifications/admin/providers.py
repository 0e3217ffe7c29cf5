"""Provider accounts, limits and suppressions: what an operator sets, and history he reads."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from notifications import suppressions
from notifications.admin.base import InfinitePaginator, who
from notifications.models import AccountRule, ProviderAccount, RateLimit, Suppression


class RuleInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    """What the account is for; without a rule, for everything of its channel."""

    model = AccountRule
    extra = 0


@admin.register(ProviderAccount)
class ProviderAccountAdmin(ModelAdmin):  # type: ignore[misc]  # as above
    """Accounts at providers. Secrets are references to where they are kept."""

    list_display = ("name", "channel", "kind", "enabled", "weight", "rate_limit")
    list_filter = ("channel", "enabled")
    search_fields = ("name",)
    inlines = (RuleInline,)


@admin.register(RateLimit)
class RateLimitAdmin(ModelAdmin):  # type: ignore[misc]  # as above
    """Limits per recipient and per template."""

    list_display = ("scope", "channel", "template", "rate")


@admin.register(Suppression)
class SuppressionAdmin(ModelAdmin):  # type: ignore[misc]  # as above
    """Who must not be written to. One is lifted, never deleted: it stays as history."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_display = ("recipient", "channel", "scope", "reason", "created_at", "lifted_at")
    list_filter = ("channel", "reason", "scope")
    search_fields = ("=recipient",)
    search_help_text = "The exact recipient."
    fields = ("channel", "recipient", "scope", "reason", "detail")
    actions = ("lift",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_lift_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("notifications.change_suppression"))

    def save_model(self, request: HttpRequest, obj: Suppression, form: Any, change: Any) -> None:
        obj.recipient = suppressions.comparable(obj.channel, obj.recipient)
        obj.created_by_id = who(request).pk
        obj.source = "admin"
        super().save_model(request, obj, form, change)

    @admin.action(description="Lift: they may be written to again", permissions=["lift"])
    def lift(self, request: HttpRequest, chosen: "QuerySet[Suppression]") -> None:
        in_force = list(chosen.filter(lifted_at__isnull=True))
        lifted = suppressions.lift(in_force, by=who(request))
        for suppression in in_force:
            self.log_change(request, suppression, "Lifted.")
        self.message_user(request, f"Lifted {lifted}.")
