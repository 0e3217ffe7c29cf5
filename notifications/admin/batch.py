"""Batches, with their progress; paused, resumed and cancelled as one."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from notifications.admin.base import ReadOnlyAdmin, labelled
from notifications.admin.project import ProjectFilter
from notifications.core.masking import without_addresses
from notifications.models import UNFINISHED, Batch, QueueWeight
from notifications.operations import batches, refusal_report

STATES = {"active": "success", "paused": "warning", "cancelled": "danger"}


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    """Read-only, but for three verbs."""

    list_display = (
        "__str__",
        "project",
        "shown_state",
        "done",
        "accepted",
        "refused",
        "created_at",
    )
    list_filter = ("state", ProjectFilter)
    list_per_page = 20  # each shows its progress, which is counted
    ordering = ("-created_at", "-id")
    search_fields = ("=id", "=name")
    search_help_text = "The exact id or name."
    actions = ("pause", "resume", "cancel")
    fieldsets = (
        (None, {"fields": ("name", "state", "done", "by_status")}),
        (
            "Acceptance",
            {"fields": (("accepted", "refused"), ("duplicates", "blank"), "shown_errors")},
        ),
        ("Times", {"fields": (("created_at", "closed_at"),)}),
    )
    readonly_fields = ("done", "by_status", "shown_errors")

    @labelled("State", STATES)
    def shown_state(self, batch: Batch) -> str:
        return batch.state

    @admin.display(description="Progress")
    def done(self, batch: Batch) -> SafeString:
        counts = batches.progress(batch)
        waiting = {*UNFINISHED, "paused"}
        done = sum(count for status, count in counts.items() if status not in waiting)
        return format_html(
            '<progress class="ntf-progress" aria-label="Progress" max="{}" value="{}"></progress>'
            "{} of {}",
            batch.accepted or 1,
            done,
            done,
            batch.accepted,
        )

    @admin.display(description="By status")
    def by_status(self, batch: Batch) -> str:
        counts = batches.progress(batch)
        return ", ".join(f"{count} {status}" for status, count in counts.items()) or "nothing yet"

    @admin.display(description="First refused rows")
    def shown_errors(self, batch: Batch) -> SafeString | str:
        rows = (
            (e["index"] + 1, e["field"], without_addresses(e["detail"])) for e in batch.errors[:20]
        )
        shown = format_html_join("", "<p>row {}, {}: {}</p>", rows)
        if not shown:
            return "-"
        report = reverse("batch-errors", args=[batch.pk])
        return format_html('{}<p><a href="{}">All refused rows, as CSV</a></p>', shown, report)

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("notifications.change_batch"))

    @admin.action(description="Pause", permissions=["steer"])
    def pause(self, request: HttpRequest, chosen: "QuerySet[Batch]") -> None:
        self._steer(request, chosen, batches.pause, "Paused")

    @admin.action(description="Resume", permissions=["steer"])
    def resume(self, request: HttpRequest, chosen: "QuerySet[Batch]") -> None:
        self._steer(request, chosen, batches.resume, "Resumed")

    @admin.action(description="Cancel what has not been sent", permissions=["steer"])
    def cancel(self, request: HttpRequest, chosen: "QuerySet[Batch]") -> None:
        self._steer(request, chosen, batches.cancel, "Cancelled")

    def _steer(
        self,
        request: HttpRequest,
        chosen: "QuerySet[Batch]",
        verb: Callable[[Batch], bool],
        done: str,
    ) -> None:
        turned = [batch for batch in chosen if verb(batch)]
        for batch in turned:
            self.log_change(request, batch, f"{done}.")
        self.message_user(request, f"{done} {len(turned)}.")


@admin.site.admin_view
def report(request: HttpRequest, batch: UUID) -> StreamingHttpResponse:
    """Download all refused rows of a batch."""
    if not request.user.has_perm("notifications.view_batch"):
        raise PermissionDenied
    shown = str if request.user.has_perm("notifications.view_content") else without_addresses
    name = f'attachment; filename="refused-{batch}.csv"'
    return StreamingHttpResponse(
        refusal_report.as_csv(batch, shown),
        content_type="text/csv",
        headers={"Content-Disposition": name},
    )


@admin.register(QueueWeight)
class QueueWeightAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """How often a queue is served beside the others, where that differs from its priority's."""

    list_display = ("queue", "weight", "updated_at")
