"""The fire ledger, to read."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from scheduling.admin.pages import labelled
from scheduling.models import Fire, FireStatus

NOTHING = "-"


LABELS: dict[str, str] = {
    FireStatus.SUCCEEDED: "success",
    FireStatus.HANDED_OVER: "success",
    FireStatus.FAILED: "danger",
    FireStatus.LOST: "danger",
    FireStatus.SKIPPED_MISFIRE: "warning",
    FireStatus.SKIPPED_OVERLAP: "warning",
    FireStatus.SKIPPED_EXPIRED: "warning",
    FireStatus.SKIPPED_CONDITION: "warning",
    FireStatus.CANCELLED: "warning",
}


@admin.register(Fire)
class FireAdmin(ModelAdmin):  # type: ignore[misc]  # untyped
    """A ledger grows by millions, so its pages are not counted."""

    paginator = InfinitePaginator
    list_display = ("scheduled_for", "task", "outcome", "late_by", "finished_at", "tries", "worker")
    list_filter = ("status", "by_hand")
    list_select_related = ("schedule__periodic_task",)
    search_fields = ("=schedule__periodic_task__name", "=id")
    search_help_text = "The exact name of a schedule, or the exact id."
    show_full_result_count = False
    list_per_page = 50
    readonly_fields = ("task_link", "late_by", "outcome_in_words")
    fieldsets = (
        (None, {"fields": ("task_link", "outcome_in_words", "error")}),
        ("Due", {"fields": (("scheduled_for", "fire_at"), "missed_since")}),
        (
            "Run",
            {
                "fields": (
                    ("dispatched_at", "late_by"),
                    ("started_at", "finished_at"),
                    ("heartbeat_at", "worker"),
                    ("attempt", "publishes"),
                )
            },
        ),
    )

    @admin.display(description="schedule")
    def task(self, fire: Fire) -> str:
        return str(fire.schedule.periodic_task.name)

    @admin.display(description="schedule")
    def task_link(self, fire: Fire) -> SafeString:
        where = reverse("admin:django_celery_beat_periodictask_change", args=(fire.schedule_id,))
        return format_html('<a class="seat-link" href="{}">{}</a>', where, self.task(fire))

    @labelled("outcome", LABELS)
    def outcome(self, fire: Fire) -> tuple[str, str]:
        return fire.status, self.outcome_in_words(fire)

    @admin.display(description="outcome")
    def outcome_in_words(self, fire: Fire) -> str:
        return f"{fire.get_status_display()}{', by hand' if fire.by_hand else ''}"

    @admin.display(description="tries", ordering="attempt")
    def tries(self, fire: Fire) -> int | str:
        return fire.attempt or NOTHING

    @admin.display(description="late by")
    def late_by(self, fire: Fire) -> str:
        return NOTHING if fire.lateness is None else f"{fire.lateness:.3f} s"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
