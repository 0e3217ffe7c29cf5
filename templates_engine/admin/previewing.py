"""The preview page: each locale and part as its recipient sees it, and "send me a test"."""

import json
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from templates_engine.admin.forms import ContextField, source_box
from templates_engine.admin.pages import user_of
from templates_engine.errors import TemplateError
from templates_engine.models import TemplateVersion
from templates_engine.parts import locales_of
from templates_engine.preview import Preview, in_scheme, preview, test_sender_of

# CSS pixels of a phone and of a desktop mail client's reading pane.
WIDTHS = (("Phone", 375), ("Desktop", 800))
SCHEMES = (("light", "in light"), ("dark", "in dark"))


class PreviewForm(forms.Form):
    """What to render."""

    locale = forms.ChoiceField(widget=UnfoldAdminSelectWidget())
    scheme = forms.ChoiceField(
        choices=SCHEMES, required=False, label="Shown", widget=UnfoldAdminSelectWidget()
    )
    context = ContextField(required=False, widget=source_box("json"))
    recipient = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget())

    def __init__(self, version: TemplateVersion, data: Any, recipient: str) -> None:
        initial = {"recipient": recipient, "context": version.sample_context}
        super().__init__(data, initial=initial)
        names = [(name, name) for name in locales_of(version.variants)]
        self.fields["locale"] = forms.ChoiceField(choices=names, widget=UnfoldAdminSelectWidget())

    def clean_context(self) -> dict[str, Any]:
        """Return the context, an object or nothing. Raises ``ValidationError``."""
        context = self.cleaned_data["context"] or {}
        if not isinstance(context, dict):
            raise forms.ValidationError("The context must be a JSON object.")
        return context


def preview_page(admin: ModelAdmin, request: HttpRequest, version_id: int) -> HttpResponse:
    """Show a version with its sample or, on POST, with a given context; or send it as a test."""
    version = get_object_or_404(TemplateVersion.objects.select_related("template"), pk=version_id)
    if not admin.has_view_permission(request, version):
        raise PermissionDenied
    email = getattr(request.user, "email", "") if version.template.channel == "email" else ""
    form = PreviewForm(version, request.POST or None, email)
    scheme = (form.cleaned_data["scheme"] if form.is_bound and form.is_valid() else "") or "light"
    shown: Preview | None = None
    error: TemplateError | None = None
    if not form.is_bound or form.is_valid():
        chosen = form.cleaned_data if form.is_bound else {}
        try:
            shown = preview(version, chosen.get("context"), chosen.get("locale"))
        except TemplateError as raised:
            error = raised
    may_test = request.user.has_perm("templates_engine.test_templateversion")
    if "send_test" in request.POST and not may_test:
        raise PermissionDenied
    if shown and "send_test" in request.POST:
        _send_test(admin, request, shown, form.cleaned_data["recipient"])
    return TemplateResponse(
        request,
        "templates_engine/admin/preview.html",
        {
            **admin.admin_site.each_context(request),
            "title": f"Preview: {version}",
            "version": version,
            "form": form,
            "preview": shown,
            "scheme": scheme,
            "framed": in_scheme(str(shown.content.get("html") or ""), scheme) if shown else "",
            "structured": _structured(shown) if shown else {},
            "error": error,
            "widths": WIDTHS,
            "can_send": may_test and test_sender_of(version.template.channel) is not None,
            "opts": TemplateVersion._meta,
        },
    )


def _structured(shown: Preview) -> dict[str, str]:
    """Return the parts that are not text, as JSON, by their headings."""
    parts = {name.capitalize(): shown.content.get(name) for name in ("data", "blocks")}
    return {
        heading: json.dumps(part, indent=2, ensure_ascii=False)
        for heading, part in parts.items()
        if part
    }


def _send_test(admin: ModelAdmin, request: HttpRequest, shown: Preview, recipient: str) -> None:
    sender = test_sender_of(shown.channel)
    if sender is None:
        admin.message_user(request, "Sending tests is not set up.", "error")
    elif not recipient:
        admin.message_user(request, "Name a recipient for the test.", "error")
    else:
        answer = sender(shown, recipient, user_of(request))
        admin.log_change(request, request.user, f"Sent a test of {shown.template_name}.")
        admin.message_user(request, answer)
