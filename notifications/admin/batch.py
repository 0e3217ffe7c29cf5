"""Batches, with their progress; paused, resumed and cancelled as one."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.forms import BaseDialogForm

from notifications.admin import disclosure
from notifications.admin.base import ReadOnlyAdmin, answer, labelled, with_dialog
from notifications.admin.project import ProjectFilter
from notifications.core.masking import without_addresses
from notifications.models import UNFINISHED, Batch, Expansion, QueueWeight
from notifications.operations import batches, refusal_report

STATES = {"active": "info", "ended": "success", "paused": "warning", "cancelled": "danger"}


STEERED = {
    Batch.State.ACTIVE: ("pause_it", "cancel_it"),
    Batch.State.PAUSED: ("resume_it", "cancel_it"),
}
PAUSE_DIALOG = {
    "title": "Pause this batch?",
    "description": "Nothing more of it is sent until it is resumed.",
    "form_submit_text": "Pause",
}
RESUME_DIALOG = {"title": "Resume this batch?", "form_submit_text": "Resume"}
CANCEL_DIALOG = {
    "title": "Cancel the rest of this batch?",
    "description": "What was not sent yet will never be sent. What a worker is sending now cannot "
    "be stopped.",
    "form_submit_text": "Cancel the rest",
}


class CountedBatches(QuerySet[Batch]):
    """Batches that carry how many of their rows are in each state."""

    def _fetch_all(self) -> None:
        fresh = self._result_cache is None
        super()._fetch_all()
        shown = [row for row in self._result_cache or () if isinstance(row, Batch)]
        if fresh and shown:
            counts = batches.progress_of(shown)
            for row in shown:
                row.counts = counts[row.pk]  # type: ignore[attr-defined]  # for this page alone


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
    sortable_by = ()
    ordering = ("-created_at", "-id")
    search_fields = ("=id", "=name")
    search_help_text = "The exact id or name."
    actions = ("pause", "resume", "cancel")
    actions_detail = ("pause_it", "resume_it", "cancel_it")
    change_form_before_template = "notifications/admin/batch_progress.html"
    fieldsets = (
        (None, {"fields": ("name", "state_in_words", "by_status", "its_rows")}),
        (
            "Acceptance",
            {"fields": (("accepted", "refused"), ("duplicates", "blank"), "shown_errors")},
        ),
        ("Audience", {"fields": ("its_audience", "not_sent")}),
        ("Times", {"fields": (("created_at", "closed_at"),)}),
    )
    readonly_fields = (
        *("state_in_words", "by_status", "its_rows", "shown_errors"),
        *("its_audience", "not_sent"),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Batch]":
        """Count the rows of all batches of a list in one query."""
        rows: QuerySet[Batch] = super().get_queryset(request)
        match = request.resolver_match
        if match and (match.url_name or "").endswith("_changelist"):
            rows.__class__ = CountedBatches
        return rows

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Batch | None:
        """Count a batch's rows once for its page."""
        batch: Batch | None = super().get_object(request, object_id, from_field)
        if batch is not None:
            batch.counts = _counted(request, batch)  # type: ignore[attr-defined]  # as below
        return batch

    @labelled("State", STATES)
    def shown_state(self, batch: Batch) -> str:
        if batch.state == Batch.State.ACTIVE and batches.is_over(batch, _counts(batch)):
            return "ended"
        return batch.state

    @admin.display(description="State")
    def state_in_words(self, batch: Batch) -> str:
        return self.shown_state(batch)

    @admin.display(description="Progress")
    def done(self, batch: Batch) -> SafeString:
        counts = _counts(batch)
        waiting = {*UNFINISHED, "paused"}
        finished = sum(count for status, count in counts.items() if status not in waiting)
        return format_html(
            '<progress class="ntf-progress" aria-label="Progress" max="{}" value="{}"></progress>'
            "{} of {}",
            batch.accepted or 1,
            finished,
            finished,
            batch.accepted,
        )

    @admin.display(description="By status")
    def by_status(self, batch: Batch) -> str:
        counts = _counts(batch)
        return ", ".join(f"{count} {status}" for status, count in counts.items()) or "nothing yet"

    @admin.display(description="Notifications")
    def its_rows(self, batch: Batch) -> SafeString:
        where = reverse("admin:notifications_notification_changelist")
        return format_html(
            '<a class="ntf-link" href="{}?batch={}">All of this batch</a>', where, batch.pk
        )

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

    @admin.display(description="Goes to")
    def its_audience(self, batch: Batch) -> str:
        expansion = Expansion.objects.filter(pk=batch.pk).select_related("batch").first()
        if expansion is None:
            return "-"
        moment = f"{expansion.frozen_at:%Y-%m-%d %H:%M:%S} UTC"
        left = f"; {expansion.left} are still to be accepted" if expansion.left else ""
        if expansion.cancelled:
            left = f"; {expansion.cancelled} got none: it was cancelled first"
        return f"{expansion.audience}: {expansion.matched} recipients as of {moment}{left}"

    @admin.display(description="Not sent, by reason")
    def not_sent(self, batch: Batch) -> str:
        expansion = Expansion.objects.filter(pk=batch.pk).first()
        counts = expansion.reasons.items() if expansion else ()
        return ", ".join(f"{count} {reason}" for reason, count in counts) or "-"

    def get_urls(self) -> list[URLPattern]:
        """Add the part of a batch's page that is renewed."""
        renewed = path(
            "<uuid:batch>/progress/",
            self.admin_site.admin_view(self.progress_page),
            name="notifications_batch_progress",
        )
        return [renewed, *super().get_urls()]

    def progress_page(self, request: HttpRequest, batch: UUID) -> HttpResponse:
        """Return how far a batch is."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = get_object_or_404(Batch, pk=batch)
        return TemplateResponse(
            request, "notifications/admin/batch_progress.html", {"progress": _progress(row)}
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the progress above the fields."""
        batch = self.get_object(request, object_id)
        shown = {"progress": _progress(batch)} if batch else {}
        context = {**(extra_context or {}), **shown}
        response: HttpResponse = super().change_view(request, object_id, form_url, context)
        return response

    def get_actions_detail(self, request: HttpRequest, object_id: UUID) -> list[Any]:
        """Offer what the batch's state allows."""
        offered: list[Any] = super().get_actions_detail(request, object_id)
        batch = Batch.objects.filter(pk=object_id).first()
        if batch is None or batches.is_over(batch, _counted(request, batch)):
            return []
        allowed = STEERED.get(Batch.State(batch.state), ())
        return [action for action in offered if action.path in allowed]

    @with_dialog("Pause", "steer", "pause", PAUSE_DIALOG)
    def pause_it(
        self, request: HttpRequest, _form: BaseDialogForm, object_id: UUID
    ) -> HttpResponse:
        return self._steer_one(request, object_id, batches.pause, "Paused")

    @with_dialog("Resume", "steer", "play_arrow", RESUME_DIALOG)
    def resume_it(
        self, request: HttpRequest, _form: BaseDialogForm, object_id: UUID
    ) -> HttpResponse:
        return self._steer_one(request, object_id, batches.resume, "Resumed")

    @with_dialog("Cancel the rest", "steer", "block", CANCEL_DIALOG)
    def cancel_it(
        self, request: HttpRequest, _form: BaseDialogForm, object_id: UUID
    ) -> HttpResponse:
        return self._steer_one(request, object_id, batches.cancel, "Cancelled")

    def _steer_one(
        self, request: HttpRequest, key: UUID, verb: Callable[[Batch], bool], done: str
    ) -> HttpResponse:
        batch = Batch.objects.get(pk=key)
        where = reverse("admin:notifications_batch_change", args=[key])
        if not verb(batch):
            return answer(request, where, f"It is {batch.state}.", failed=True)
        self.log_change(request, batch, f"{done}.")
        return answer(request, where, f"{done}.")

    def has_steer_permission(self, request: HttpRequest, _: object = None) -> bool:
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


def _progress(batch: Batch) -> dict[str, Any]:
    """Return what the batch's bar shows."""
    counts = getattr(batch, "counts", None) or batches.progress(batch)
    waiting = {*UNFINISHED, "paused"}
    return {
        "batch": batch,
        "counts": [(status, counts[status]) for status in sorted(counts)],
        "done": sum(count for status, count in counts.items() if status not in waiting),
        "is_over": batches.is_over(batch, counts),
    }


def _counted(request: HttpRequest, batch: Batch) -> dict[str, int]:
    """Count a batch's rows once in a request."""
    known: dict[UUID, dict[str, int]] = request.__dict__.setdefault("counted_batches", {})
    if batch.pk not in known:
        known[batch.pk] = batches.progress(batch)
    return known[batch.pk]


def _counts(batch: Batch) -> dict[str, int]:
    counts: dict[str, int] = batch.counts  # type: ignore[attr-defined]  # CountedBatches's
    return counts


@admin.site.admin_view
def report(request: HttpRequest, batch: UUID) -> StreamingHttpResponse:
    """Download all refused rows of a batch."""
    if not request.user.has_perm("notifications.view_batch"):
        raise PermissionDenied
    shown = str if disclosure.may_see(request) else without_addresses
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
