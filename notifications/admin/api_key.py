"""Keys to the HTTP API: made, rotated and revoked; each is shown once."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from notifications.api import keys
from notifications.models import ApiKey

OVERLAP = timedelta(hours=24)


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    """What a key is for. Its secret is made, not typed."""

    scopes = forms.MultipleChoiceField(
        choices=ApiKey.Scope.choices, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    class Meta:
        model = ApiKey
        fields = ("name", "kind", "scopes", "expires_at", "rate")


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """A key is revoked, never deleted: it stays as history."""

    form = ApiKeyForm
    list_display = ("name", "prefix", "kind", "scopes", "last_used_at", "expires_at")
    list_filter = ("kind",)
    search_fields = ("name", "prefix")
    readonly_fields = ("prefix", "last_used_at", "created_at", "replaced_by")
    actions = ("rotate", "revoke")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return (*self.readonly_fields, "kind") if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: Any) -> None:
        if change:
            super().save_model(request, obj, form, change)
            keys.forget()
        else:
            self._show(request, keys.save_new(obj))

    @admin.action(description="Rotate: the old one ends in a day", permissions=["change"])
    def rotate(self, request: HttpRequest, chosen: "QuerySet[ApiKey]") -> None:
        for row in chosen:
            self._show(request, keys.rotate(row, overlap=OVERLAP))
            self.log_change(request, row, "Rotated.")

    @admin.action(description="Revoke: it ends now", permissions=["change"])
    def revoke(self, request: HttpRequest, chosen: "QuerySet[ApiKey]") -> None:
        for row in chosen:
            keys.revoke(row)
            self.log_change(request, row, "Revoked.")
        self.message_user(request, f"Revoked {len(chosen)}.")

    def _show(self, request: HttpRequest, new: keys.NewKey) -> None:
        text = f"The key of {new.row.name}, shown this once: {new.token}"
        self.message_user(request, text, messages.WARNING)
