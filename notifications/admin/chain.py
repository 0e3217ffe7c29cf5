"""Chains, checked as the API checks them."""

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from notifications.admin import disclosure
from notifications.admin.project import FormOfOne, ProjectFilter
from notifications.chains import definitions
from notifications.core.masking import without_addresses
from notifications.models import Chain


class ChainForm(FormOfOne):
    """A chain; what is wrong stands beside its field."""

    known_by = ("name",)

    class Meta:
        model = Chain
        fields = ("project", "name", *definitions.FIELDS)

    def check_row(self, row: Any) -> None:
        definitions.check(row)


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
        if obj is not None and not disclosure.may_see(request):
            steps = "masked_steps"
        return ("project", "name", steps, "stop_on", "template", "expires")

    @admin.display(description="Ways")
    def ways(self, chain: Chain) -> str:
        return " → ".join(str(step.get("channel", "")) for step in chain.steps)

    @admin.display(description="Steps")
    def masked_steps(self, chain: Chain) -> SafeString:
        text = without_addresses(json.dumps(chain.steps, indent=2, ensure_ascii=False))
        return format_html('<pre class="whitespace-pre-wrap">{}</pre>', text)
