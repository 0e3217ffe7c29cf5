"""Layouts and partials."""

from django.contrib import admin
from unfold.admin import ModelAdmin

from templates_engine.admin.forms import PartialForm
from templates_engine.models import Partial


@admin.register(Partial)
class PartialAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """What templates share. A published version keeps the copy it was published with."""

    form = PartialForm
    list_display = ("name", "description", "updated_at")
    search_fields = ("name", "description")

    def get_readonly_fields(self, request: object, obj: Partial | None = None) -> tuple[str, ...]:
        """Keep the name: templates refer to it."""
        return ("name",) if obj else ()
