"""The page of a recipient's personal data: to hand out, and to forget."""

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from notifications.admin.base import who
from notifications.core.errors import InvalidField
from notifications.operations import personal_data
from notifications.submission import projects


class RecipientForm(forms.Form):
    """Whose data it is."""

    recipient = forms.CharField(
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="A mail address, a number, a token or a URL.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        names = [("", "it is an address"), *((name, name) for name in projects.names())]
        self.fields["project"] = forms.ChoiceField(
            choices=names,
            required=False,
            widget=UnfoldAdminSelectWidget,
            help_text="Choose one if you gave the id of a stored recipient.",
        )

    def clean(self) -> dict[str, Any]:
        """Refuse a text that names no recipient; the error stands beside the field."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        try:
            personal_data.check(cleaned.get("recipient", ""), cleaned.get("project", ""))
        except InvalidField as error:
            if "recipient" in cleaned:
                self.add_error("recipient", str(error))
        return cleaned


@admin.site.admin_view
def page(request: HttpRequest) -> HttpResponse:
    """Ask for a recipient; by POST give what is kept, or forget it."""
    if not request.user.has_perm("config.forget_recipient"):
        raise PermissionDenied
    form = RecipientForm(request.POST or None)
    if form.is_valid():
        recipient, project = form.cleaned_data["recipient"], form.cleaned_data["project"]
        if "forget" in request.POST:
            return _forget(request, recipient, project)
        kept = personal_data.export(recipient, project=project)
        return HttpResponse(
            json.dumps(kept, indent=2, ensure_ascii=False),
            content_type="application/json",
            headers={"Content-Disposition": 'attachment; filename="recipient.json"'},
        )
    context = {**admin.site.each_context(request), "title": "Personal data", "form": form}
    return TemplateResponse(request, "notifications/admin/personal_data.html", context)


def _forget(request: HttpRequest, recipient: str, project: str) -> HttpResponse:
    forgotten = personal_data.forget(recipient, project=project, by=who(request))
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in forgotten.items())
    messages.success(request, f"Forgotten: {counts or 'nothing was kept'}.")
    if problem := personal_data.left_to_do(forgotten):
        messages.warning(request, problem)
    return redirect("personal-data")
