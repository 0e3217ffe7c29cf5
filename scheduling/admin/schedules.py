"""The list of schedules, and their form: when, what and how."""

from collections.abc import Iterable
from copy import copy
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django_celery_beat.models import PeriodicTask

from scheduling import isolation, job_storage, jobs, overdue
from scheduling.admin import calendars, timeline
from scheduling.admin.policy import PolicyInline
from scheduling.admin.readable import ReadableRows, readable
from scheduling.admin.schedule_actions import ScheduleActions
from scheduling.admin.schedule_columns import (
    FIRES_DRAWN,
    NEXT_FIRES,
    ScheduleColumns,
    words_of_rule,
)
from scheduling.admin.schedule_filters import GroupFilter, StateFilter
from scheduling.admin.schedule_form import RULES, ScheduleForm
from scheduling.admin.when import CRON, EVERY, ONCE, ROW, OutlookForm
from scheduling.clock import database_now
from scheduling.models import Fire, Schedule

A_DAY = timedelta(days=1)


admin.site.unregister(PeriodicTask)


@admin.register(PeriodicTask)
class ScheduleAdmin(ScheduleActions, ScheduleColumns):
    """Every ``PeriodicTask`` there is, whoever made it."""

    form = ScheduleForm
    inlines = (PolicyInline,)
    list_display = ("name", "does", "rule", "state", "next_fire", "last_run_at")
    list_filter = (StateFilter, GroupFilter, "one_off")
    search_fields = ("name", "task")
    list_before_template = "scheduling/admin/timeline.html"
    show_full_result_count = False
    list_per_page = 50
    # Plain dropdowns would load every crontab there is.
    autocomplete_fields = RULES
    actions = ("pause_selected", "resume_selected", "run_selected")
    actions_detail = ("pause", "resume", "run", "backfill", "duplicate")
    readonly_fields = (
        *("does", "rule", "state", "outlook", "timeline", "fires_so_far"),
        *("last_run_at", "total_run_count"),
    )
    WHAT: Any = (("What", {"fields": ("regtask", "task", "args", "kwargs")}),)
    WHEN: Any = (
        (
            "When",
            {
                "fields": (
                    "when",
                    ("cron", "timezone"),
                    ("every", "period"),
                    "at",
                    ("interval", "crontab"),
                    ("clocked", "solar"),
                    "outlook",
                )
            },
        ),
        (
            "Limits",
            {"fields": (("start_time", "expires"), "one_off"), "classes": ("collapse",)},
        ),
    )
    REST: Any = (
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
    LOOKED_AT: Any = (
        (None, {"fields": ("name", "state", "does", "rule", "description")}),
        (
            "Fires",
            {"fields": ("outlook", "timeline", "fires_so_far", "last_run_at", "total_run_count")},
        ),
    )
    conditional_fields = {
        "cron": f"when == '{CRON}'",
        "timezone": f"when == '{CRON}'",
        "every": f"when == '{EVERY}'",
        "period": f"when == '{EVERY}'",
        "at": f"when == '{ONCE}'",
        **dict.fromkeys(RULES, f"when == '{ROW}'"),
        "outlook": f"when != '{ROW}'",
    }

    class Media:
        js = ("scheduling/schedule.js",)
        css = {"all": ("scheduling/schedule.css",)}

    def __init__(self, model: type[PeriodicTask], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        # Not in the model itself: it is django-celery-beat's, and so would be the migration.
        self.opts = copy(model._meta)
        self.opts.verbose_name, self.opts.verbose_name_plural = "schedule", "schedules"

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Have the list count schedules, under our word for them."""
        changelist: ChangeList = super().get_changelist_instance(request)
        changelist.opts = self.opts
        return changelist

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """List schedules under our word for them, below a picture of what fires around now."""
        drawn = _around_now() if request.user.has_perm("scheduling.view_fire") else None
        page: HttpResponse = super().changelist_view(
            request, {"title": "Schedules", "timeline": drawn, **(extra_context or {})}
        )
        return page

    def get_queryset(self, request: HttpRequest) -> ReadableRows:
        rows = super().get_queryset(request).select_related("firing", *RULES)
        late = Q(enabled=True, firing__next_fire_at__lt=database_now() - overdue.LONG)
        return readable(rows.annotate(is_overdue=late))

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> tuple[Any, ...]:
        """Return the schedules and count their fires, of which there may be many thousands."""
        tasks = list(objs)
        fires = Fire.objects.filter(schedule__in=[task.pk for task in tasks]).count()
        counts = {"schedules": len(tasks), "fires": fires}
        return [task.name for task in tasks], counts, set(), []

    def lock_first(self, task: PeriodicTask) -> None:
        """Lock what schedulers lock before the schedule's own row, as its page is saved."""
        job_storage.lock(task.name)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        """Keep a rule that no row can hold beside the row that stands for it."""
        super().save_related(request, form, formsets, change)
        if form.is_rule_new and form.document is not None:
            job_storage.keep_own_rule(form.instance, form.document)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Name the schedule by its rule, also by one that its row only stands for."""
        task = context.get("original")
        if task is not None:
            context["subtitle"] = f"{task.name}: {words_of_rule(task)}"
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return page

    def delete_model(self, request: HttpRequest, obj: PeriodicTask) -> None:
        jobs.remove(obj.name)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for name in queryset.values_list("name", flat=True):
            jobs.remove(name)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the form, or for who may only look what there is to see."""
        may_write = self.has_change_permission(request, obj) if obj else True
        if not may_write:
            return self.LOOKED_AT
        first = (None, {"fields": ("name", "enabled", "description")})
        if obj is None:
            return (first, *self.WHEN, *self.WHAT, *self.REST)
        so_far = ("Fires so far", {"fields": ("rule", "state", "timeline", "fires_so_far")})
        return (first, *self.WHEN, *self.WHAT, so_far, *self.REST)

    def get_urls(self) -> list[URLPattern]:
        """Add what the form's script asks, and the page of calendars."""
        outlook = path(
            "outlook/",
            self.admin_site.admin_view(self.outlook_as_typed),
            name="django_celery_beat_periodictask_outlook",
        )
        calendars = path(
            "calendars/",
            self.admin_site.admin_view(self.calendars),
            name="django_celery_beat_periodictask_calendars",
        )
        return [outlook, calendars, *super().get_urls()]

    def calendars(self, request: HttpRequest) -> HttpResponse:
        """Show the calendars that schedules go by."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return calendars.page(request, self)

    def outlook_as_typed(self, request: HttpRequest) -> JsonResponse:
        """Say in words what is typed, and give the next fires."""
        if not (self.has_view_permission(request) or self.has_add_permission(request)):
            raise PermissionDenied
        task = PeriodicTask.objects.filter(pk=_number(request.GET.get("task", ""))).first()
        return JsonResponse(OutlookForm(request.GET).outlook(NEXT_FIRES, task))


def _around_now() -> timeline.Timeline | None:
    """Draw the last and the next fires of all schedules, of a day before and after now."""
    now = database_now()
    recent = Fire.objects.filter(scheduled_for__range=(now - A_DAY, now + A_DAY))
    named = recent.annotate(name=F("schedule__periodic_task__name")).order_by("-scheduled_for")
    due = Schedule.objects.filter(next_fire_at__range=(now, now + A_DAY)).order_by("next_fire_at")
    next_ones = due.values_list("next_fire_at", "periodic_task__name")[:FIRES_DRAWN]
    fires: list[tuple[Fire, str]] = []
    planned: list[tuple[datetime, str]] = []
    with isolation.aside("reading the fires around now"):
        fires += [(fire, fire.name) for fire in readable(named)[:FIRES_DRAWN]]
        planned += [(moment, name) for moment, name in next_ones if moment]
    return timeline.draw_all(fires, planned, now)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
