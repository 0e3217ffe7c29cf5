"""The page of the audit log: to read, to filter and to download as CSV."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from config.models import AuditEntry

COLUMNS = (
    *("id", "at", "kind", "who", "who_id", "act", "object_type", "object_id"),
    *("before", "after", "detail", "request_id"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


class ActFilter(admin.SimpleListFilter):
    """By act, of those that there are."""

    title = "act"
    parameter_name = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        acts = AuditEntry.objects.order_by("act").values_list("act", flat=True).distinct()
        return [(act, act) for act in acts]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(act=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Read-only for everybody: the database refuses changes, too."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = 50
    list_disable_select_all = True
    show_facets = None
    list_display = ("at", "who", "kind", "act", "object_type", "object_id", "said")
    list_filter = ("kind", ActFilter, "at")
    listed_lookups = ("at__gte", "at__lt")  # of the filter by time
    search_fields = ("=who", "=object_id", "=request_id")
    search_help_text = "The exact name of who acted, or the exact id of a row or a request."
    ordering = ("-id",)
    list_before_template = "config/audit_export.html"
    fieldsets = (
        (None, {"fields": (("at", "act"), ("kind", "who", "who_id"))}),
        ("What", {"fields": (("object_type", "object_id"), "detail", "was", "became")}),
        (None, {"fields": ("request_id",)}),
    )
    readonly_fields = ("was", "became")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="detail")
    def said(self, entry: AuditEntry) -> str:
        return entry.detail

    @admin.display(description="before")
    def was(self, entry: AuditEntry) -> SafeString | str:
        return _json(entry.before)

    @admin.display(description="after")
    def became(self, entry: AuditEntry) -> SafeString | str:
        return _json(entry.after)

    def get_urls(self) -> list[URLPattern]:
        """Add the download."""
        export = path(
            "export/", self.admin_site.admin_view(self.export), name="config_auditentry_export"
        )
        return [export, *super().get_urls()]

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """Download what the filters of the list let through, the oldest first."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        entries = self.get_changelist_instance(request).get_queryset(request).order_by("id")
        return StreamingHttpResponse(
            as_csv(entries.values_list(*COLUMNS).iterator(chunk_size=2000)),
            content_type="text/csv",
            headers={"Content-Disposition": 'attachment; filename="audit.csv"'},
        )


def as_csv(rows: Any) -> Iterator[str]:
    """Write entries as CSV, one at a time; no cell begins a formula."""
    yield _line(COLUMNS)
    for row in rows:
        yield _line([_cell(value) for value in row])


def _line(cells: Any) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _json(value: Any) -> SafeString | str:
    if value is None:
        return "-"
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="whitespace-pre-wrap">{}</pre>', text)
