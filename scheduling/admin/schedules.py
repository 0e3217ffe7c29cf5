"""Schedules: create, pause, resume, run now; the next five fires, and the fires so far."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django_celery_beat.admin import PeriodicTaskForm, TaskSelectWidget
from django_celery_beat.models import PeriodicTask
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from scheduling import jobs
from scheduling.admin.policy import PolicyInline
from scheduling.models import Fire, Schedule
from scheduling.preview import upcoming_fires

NEXT_FIRES = 5
FIRES_SHOWN = 10
NOTHING = "-"


class TaskSelect(UnfoldAdminSelectWidget, TaskSelectWidget):  # type: ignore[misc]  # untyped
    """The registered tasks, in the theme's dress."""


class ScheduleForm(PeriodicTaskForm):  # type: ignore[misc]  # untyped
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = TaskSelect()


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("planned", "planned"), ("paused", "paused"), ("quarantined", "quarantined")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "planned":
                return queryset.filter(firing__next_fire_at__isnull=False)
            case "paused":
                return queryset.filter(enabled=False)
            case "quarantined":
                return queryset.filter(firing__quarantined_at__isnull=False)
        return queryset


admin.site.unregister(PeriodicTask)


@admin.register(PeriodicTask)
class ScheduleAdmin(ModelAdmin):  # type: ignore[misc]  # untyped
    form = ScheduleForm
    inlines = (PolicyInline,)
    list_display = ("name", "task", "rule", "enabled", "state", "next_fire", "last_run_at")
    list_filter = (StateFilter, "one_off")
    list_select_related = ("firing", "interval", "crontab", "solar", "clocked")
    search_fields = ("name", "task")
    show_full_result_count = False
    # Plain dropdowns would load every crontab there is.
    autocomplete_fields = ("interval", "crontab", "solar", "clocked")
    actions = ("pause", "resume", "run_now")
    readonly_fields = ("state", "next_fires", "fires_so_far", "last_run_at", "total_run_count")
    fieldsets = (
        (None, {"fields": ("name", "regtask", "task", "enabled", "description")}),
        (
            "When",
            {
                "fields": (
                    ("interval", "crontab"),
                    ("clocked", "solar"),
                    "one_off",
                    "start_time",
                    "expires",
                )
            },
        ),
        ("Fires", {"fields": ("state", "next_fires", "fires_so_far", "last_run_at")}),
        ("Arguments", {"fields": ("args", "kwargs"), "classes": ("collapse",)}),
        (
            "Message",
            {
                "fields": (
                    ("queue", "priority", "expire_seconds"),
                    ("exchange", "routing_key", "headers"),
                ),
                "classes": ("collapse",),
            },
        ),
    )

    @admin.display(description="rule")
    def rule(self, task: PeriodicTask) -> str:
        return str(task.scheduler or NOTHING)

    @admin.display(description="next fire", ordering="firing__next_fire_at")
    def next_fire(self, task: PeriodicTask) -> datetime | None:
        schedule = _schedule(task)
        return schedule.next_fire_at if schedule else None

    @admin.display(description="state")
    def state(self, task: PeriodicTask) -> str:
        schedule = _schedule(task)
        if schedule and schedule.quarantined_at:
            return f"quarantined: {schedule.quarantine_reason}"
        return "active" if task.enabled else "paused"

    @admin.display(description=f"next {NEXT_FIRES} fires")
    def next_fires(self, task: PeriodicTask) -> str | SafeString:
        """Shown in the zone of the crontab, if it has one."""
        if task.pk is None:
            return NOTHING
        zone = task.crontab.timezone if task.crontab else None
        moments = [localtime(moment, zone) for moment in upcoming_fires(task, NEXT_FIRES)]
        lines = ((f"{moment:%Y-%m-%d %H:%M:%S %Z}",) for moment in moments)
        return format_html_join(SafeString("<br>"), "{}", lines) or NOTHING

    @admin.display(description="fires so far")
    def fires_so_far(self, task: PeriodicTask) -> str | SafeString:
        if task.pk is None:
            return NOTHING
        fires = Fire.objects.filter(schedule=task.pk)[:FIRES_SHOWN]
        lines = (
            (
                reverse("admin:scheduling_fire_change", args=(fire.pk,)),
                f"{fire.scheduled_for:%Y-%m-%d %H:%M:%S %Z}",
                fire.get_status_display(),
            )
            for fire in fires
        )
        shown = format_html_join("", '<a href="{}">{}</a> {}<br>', lines)
        everything = reverse("admin:scheduling_fire_changelist") + f"?schedule={task.pk}"
        return format_html('{}<a href="{}">all</a>', shown, everything) if shown else NOTHING

    @admin.action(description="Pause", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._apply(request, queryset.filter(enabled=True), jobs.pause, "Paused")

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._apply(request, queryset.filter(enabled=False), jobs.resume, "Resumed")

    @admin.action(description="Run now", permissions=["change"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._apply(request, queryset, jobs.run_now, "Run now")

    def _apply(self, request: HttpRequest, tasks: Iterable[Any], verb: Any, done: str) -> None:
        """Do it to each, and log who did it."""
        count = 0
        for task in tasks:
            verb(task.name)
            self.log_change(request, task, done)
            count += 1
        messages.success(request, f"{done}: {count}.")


def _schedule(task: PeriodicTask) -> Schedule | None:
    return getattr(task, "firing", None)
