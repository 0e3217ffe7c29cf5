"""Audiences, checked as the API checks them, with whom they have now."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextareaWidget

from notifications.admin.project import FormOfOne, ProjectFilter
from notifications.api import problems
from notifications.audiences import saved
from notifications.core.errors import InvalidNotification
from notifications.core.masking import without_addresses
from notifications.models import Audience
from scheduling import watch


def why_too_slow(error: saved.FilterTooSlow) -> str:
    """Say that a filter takes too long; raise the error anew where the database is out."""
    if not watch.is_of_a_query(error):
        raise error
    kind = problems.KINDS["filter-too-slow"]
    return f"{kind.title} {kind.hint}"


class AudienceForm(FormOfOne):
    """An audience; what is wrong stands beside its field."""

    known_by = ("name",)

    class Meta:
        model = Audience
        fields = ("project", "name", "description", "filter")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "filter" in self.fields:
            self.fields["filter"].widget = UnfoldAdminTextareaWidget(
                attrs={"rows": 12, "spellcheck": "false"}
            )

    def check_row(self, row: Any) -> None:
        saved.check(row)


@admin.register(Audience)
class AudienceAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Saved filters over the stored recipients."""

    form = AudienceForm
    list_display = ("name", "description", "project", "test", "updated_at")
    list_filter = ("test", ProjectFilter)
    search_fields = ("name",)
    sortable_by = ()

    def get_fields(self, request: HttpRequest, obj: Audience | None = None) -> Any:
        own = ("project", "name", "description", "filter")
        return (*own, "matches", "some") if obj else own

    def get_readonly_fields(self, request: HttpRequest, obj: Audience | None = None) -> Any:
        return ("project", "name", "matches", "some") if obj else ()

    @admin.display(description="Recipients now")
    def matches(self, audience: Audience) -> str:
        preview = self._preview(audience)
        return preview if isinstance(preview, str) else str(preview.count)

    @admin.display(description="Some of them")
    def some(self, audience: Audience) -> str:
        preview = self._preview(audience)
        if isinstance(preview, str):
            return "-"
        return (
            ", ".join(without_addresses(recipient["id"]) for recipient in preview.recipients) or "-"
        )

    def save_model(self, request: HttpRequest, obj: Audience, form: Any, change: Any) -> None:
        obj.updated_at = timezone.now()
        super().save_model(request, obj, form, change)

    def _preview(self, audience: Audience) -> saved.Preview | str:
        """Return its recipients, counted once per request, or why its filter is no longer valid."""
        preview: saved.Preview | str | None = audience.__dict__.get("found")
        if preview is None:
            try:
                preview = saved.preview(audience.filter, audience.world)
            except InvalidNotification as error:
                preview = f"{error.field}: {error}"
            except saved.FilterTooSlow as error:
                preview = why_too_slow(error)
            audience.__dict__["found"] = preview
        return preview
