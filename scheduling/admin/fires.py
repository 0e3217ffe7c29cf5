"""The fire ledger, to read."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from scheduling.models import Fire


@admin.register(Fire)
class FireAdmin(ModelAdmin):  # type: ignore[misc]  # untyped
    list_display = (
        "scheduled_for",
        "task",
        "status",
        "late_by",
        "started_at",
        "finished_at",
        "attempt",
        "worker",
        "by_hand",
    )
    list_filter = ("status", "by_hand")
    list_select_related = ("schedule__periodic_task",)
    search_fields = ("schedule__periodic_task__name", "=id")
    show_full_result_count = False
    readonly_fields = ("late_by",)

    @admin.display(description="schedule")
    def task(self, fire: Fire) -> str:
        return str(fire.schedule.periodic_task.name)

    @admin.display(description="late by")
    def late_by(self, fire: Fire) -> str:
        return "-" if fire.lateness is None else f"{fire.lateness:.3f} s"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
