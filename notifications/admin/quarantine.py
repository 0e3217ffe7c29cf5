"""Rows in quarantine: what the shared loops pass over, and why."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from notifications.admin.base import ReadOnlyAdmin, labelled, who
from notifications.models import QuarantinedRow
from notifications.queueing import quarantine

STATES = {"quarantined": "danger", "backing off": "warning", "released": "info"}


@admin.register(QuarantinedRow)
class QuarantinedRowAdmin(ReadOnlyAdmin):
    """Read-only, but for the release."""

    list_display = ("loop", "key", "state", "reason", "stage", "fault_count", "last_seen_at")
    list_filter = ("loop", "reason")
    ordering = ("-last_seen_at",)
    search_fields = ("=key",)
    search_help_text = "The exact key."
    actions = ("release",)

    @labelled("State", STATES)
    def state(self, row: QuarantinedRow) -> str:
        if row.released_at is not None:
            return "released"
        return "backing off" if row.quarantined_at is None else "quarantined"

    def has_release_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("notifications.change_quarantinedrow"))

    @admin.action(description="Release: the loop tries them again", permissions=["release"])
    def release(self, request: HttpRequest, chosen: "QuerySet[QuarantinedRow]") -> None:
        rows = list(chosen.open())  # type: ignore[attr-defined]  # the manager's own query set
        released = quarantine.release(chosen, by=who(request))
        for row in rows:
            self.log_change(request, row, "Released.")
        self.message_user(request, f"Released {released}.")
