"""Holds: what is held back, added and released by whoever may steer batches."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from notifications.admin.base import who
from notifications.core.errors import InvalidField
from notifications.models import Hold
from notifications.operations import holds


class HoldForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """What to hold; checked to be there."""

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        try:
            holds.check(data.get("scope", ""), data.get("value", ""))
        except InvalidField as error:
            self.add_error(error.field, str(error))
        same = {name: data.get(name, "") for name in ("scope", "value")}
        if not self.errors and holds.in_force().filter(**same).exists():
            self.add_error("value", "It is held already.")
        return data

    def validate_constraints(self) -> None:
        """Pass over what was released: its row is taken for the new hold."""


@admin.register(Hold)
class HoldAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """The holds in force. One is not changed, but released, and made anew."""

    form = HoldForm
    list_display = ("scope", "value", "reason", "created_by", "created_at")
    list_display_links = None
    fields = ("scope", "value", "reason")
    actions = ("release",)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Hold]":
        return holds.in_force()

    def has_change_permission(self, request: HttpRequest, obj: Hold | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Hold | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Hold, form: Any, change: bool) -> None:  # noqa: FBT001 -- Django's own signature
        """Hold it back; when the answer comes, nothing of it is claimed any more."""
        made = holds.hold(obj.scope, obj.value, reason=obj.reason, by=who(request))
        obj.pk = made.pk

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("notifications.change_hold"))

    @admin.action(description="Release", permissions=["steer"])
    def release(self, request: HttpRequest, chosen: "QuerySet[Hold]") -> None:
        released = [hold for hold in chosen if holds.release(hold.scope, hold.value)]
        for hold in released:
            self.log_change(request, hold, "Released.")
        self.message_user(request, f"Released {len(released)}.")
