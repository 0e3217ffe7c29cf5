"""Chains, checked as the API checks them."""

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from notifications.admin.project import TAKEN, ProjectFilter, is_taken
from notifications.chains import definitions
from notifications.core.errors import InvalidField, InvalidNotification
from notifications.core.masking import without_addresses
from notifications.models import Chain
from notifications.submission import projects


class ChainForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """A chain; what is wrong stands beside its field."""

    class Meta:
        model = Chain
        fields = ("project", "name", *definitions.FIELDS)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "project" in self.fields:
            names = [(name, name) for name in projects.names()]
            self.fields["project"] = forms.ChoiceField(
                choices=names, help_text=self.fields["project"].help_text
            )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if self.errors:
            return data
        try:
            row = Chain(**{"test": self.instance.test, **data})
            definitions.check(row)
            if is_taken(row, "name", pk=self.instance.pk):
                raise InvalidField(TAKEN, field="name")
        except InvalidNotification as error:
            field, _, place = error.field.partition(".")
            text = f"{place}: {error}" if place else str(error)
            self.add_error(field if field in self.fields else None, text)
        return data


@admin.register(Chain)
class ChainAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """By which ways a message goes, one after the other, until it reaches."""

    form = ChainForm
    list_display = ("name", "project", "ways", "stop_on", "template")
    list_filter = ("stop_on", ProjectFilter)
    search_fields = ("name", "template")
    readonly_fields = ("masked_steps",)

    def get_fields(self, request: HttpRequest, obj: Chain | None = None) -> Any:
        """Show the steps without addresses to those who may not see recipients."""
        steps = "steps"
        if obj is not None and not request.user.has_perm("notifications.view_content"):
            steps = "masked_steps"
        return ("project", "name", steps, "stop_on", "template", "expires")

    @admin.display(description="Ways")
    def ways(self, chain: Chain) -> str:
        return " → ".join(str(step.get("channel", "")) for step in chain.steps)

    @admin.display(description="Steps")
    def masked_steps(self, chain: Chain) -> SafeString:
        text = without_addresses(json.dumps(chain.steps, indent=2, ensure_ascii=False))
        return format_html('<pre class="whitespace-pre-wrap">{}</pre>', text)
