"""Keys to the HTTP API: made, rotated and revoked; each is shown once."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget

from notifications.models import ApiKey
from notifications.operations import api_keys
from notifications.submission import projects

OVERLAP = timedelta(hours=24)


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    """What a key is for. Its secret is made, not typed."""

    scopes = forms.MultipleChoiceField(
        choices=ApiKey.Scope.choices, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    project = forms.ChoiceField(
        choices=lambda: [(name, name) for name in projects.names()],
        widget=UnfoldAdminSelectWidget,
        help_text="The key sees and changes nothing of other projects. The project cannot "
        "be changed later.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "project", "kind", "scopes", "expires_at", "rate")


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """A key is revoked, never deleted: it stays as history."""

    form = ApiKeyForm
    fields = (
        *("name", "project", "kind", "scopes", "expires_at", "rate"),
        *("prefix", "last_used_at", "created_at", "replaced_by"),
    )
    list_display = ("name", "prefix", "project", "kind", "scopes", "last_used_at", "expires_at")
    list_filter = ("project", "kind")
    search_fields = ("name", "prefix")
    readonly_fields = ("prefix", "last_used_at", "created_at", "replaced_by")
    actions = ("rotate", "revoke")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return (*self.readonly_fields, "project", "kind") if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: Any) -> None:
        if change:
            super().save_model(request, obj, form, change)
            api_keys.forget()
        else:
            obj.new_key = api_keys.save_new(obj)  # type: ignore[attr-defined]  # for response_add

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the key in the answer itself: a redirect would have to keep it somewhere."""
        return self._new_keys_page(request, [obj.new_key])  # type: ignore[attr-defined]  # as above

    @admin.action(description="Rotate: the old one ends in a day", permissions=["change"])
    def rotate(self, request: HttpRequest, chosen: "QuerySet[ApiKey]") -> HttpResponse:
        made = []
        for row in chosen:
            made.append(api_keys.rotate(row, overlap=OVERLAP))
            self.log_change(request, row, "Rotated.")
        return self._new_keys_page(request, made)

    @admin.action(description="Revoke: it ends now", permissions=["change"])
    def revoke(self, request: HttpRequest, chosen: "QuerySet[ApiKey]") -> None:
        for row in chosen:
            api_keys.revoke(row)
            self.log_change(request, row, "Revoked.")
        self.message_user(request, f"Revoked {len(chosen)}.")

    def _new_keys_page(self, request: HttpRequest, keys: Sequence[api_keys.NewKey]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "New keys" if len(keys) > 1 else "A new key",
            "keys": keys,
        }
        page = TemplateResponse(request, "notifications/admin/new_keys.html", context)
        add_never_cache_headers(page)
        return page
