"""Schedules in one form: when, what and how; the next five fires, and the fires so far."""

from collections.abc import Callable, Iterable
from copy import copy
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django_celery_beat.models import PeriodicTask
from unfold.forms import BaseDialogForm

from scheduling import (
    isolation,
    job_rows,
    job_storage,
    jobs,
    overdue,
    rules,
)
from scheduling.admin import backfill, calendars, timeline
from scheduling.admin.pages import answer, with_dialog, with_page
from scheduling.admin.policy import PolicyInline
from scheduling.admin.readable import ReadableAdmin, ReadableRows, fault_of, readable
from scheduling.admin.schedule_filters import GroupFilter, StateFilter
from scheduling.admin.schedule_form import RULES, ScheduleForm
from scheduling.admin.when import (
    CRON,
    EVERY,
    ONCE,
    ROW,
    OutlookForm,
    words_of,
    zone_of,
)
from scheduling.admin.when import shown as written
from scheduling.clock import database_now
from scheduling.message_rows import read_json
from scheduling.messages import MalformedMessage
from scheduling.models import Fire, Schedule
from scheduling.preview import upcoming_fires

NEXT_FIRES = 5
FIRES_SHOWN = 10
FIRES_DRAWN = 60
A_DAY = timedelta(days=1)
NOTHING = "-"
PAGE = "admin:django_celery_beat_periodictask_change"
DIALOGS = {
    "pause": {
        "title": "Pause this schedule?",
        "description": "It does not fire until it is resumed. Runs that have begun go on.",
        "form_submit_text": "Pause",
    },
    "resume": {
        "title": "Resume this schedule?",
        "description": "Its policy says what happens to the due times that it missed.",
        "form_submit_text": "Resume",
    },
    "run": {
        "title": "Run it once, now?",
        "description": "This run is an extra one: it happens even if the schedule is paused or its "
        "condition says no.",
        "form_submit_text": "Run now",
    },
    "duplicate": {
        "title": "Duplicate this schedule?",
        "description": "The copy is paused, so that you can change it before it fires.",
        "form_submit_text": "Duplicate",
    },
}


admin.site.unregister(PeriodicTask)


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


@admin.register(PeriodicTask)
class ScheduleAdmin(ReadableAdmin):
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
        found: ChangeList = super().get_changelist_instance(request)
        found.opts = self.opts
        return found

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
            context["subtitle"] = f"{task.name}: {_words(task)}"
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

    def has_steer_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(request.user.has_perm("scheduling.change_schedule"))

    def has_duplicate_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(self.has_add_permission(request))

    @admin.display(description="does", ordering="task")
    def does(self, task: PeriodicTask) -> str:
        return str(task.task)

    @admin.display(description="rule")
    def rule(self, task: PeriodicTask) -> str:
        return _words(task) or NOTHING

    @admin.display(description="next fire", ordering="firing__next_fire_at")
    def next_fire(self, task: PeriodicTask) -> datetime | None:
        schedule = _schedule(task)
        return schedule.next_fire_at if schedule else None

    @admin.display(description="state")
    def state(self, task: PeriodicTask) -> str:
        schedule = _schedule(task)
        if schedule and schedule.quarantined_at:
            return f"in quarantine: {schedule.quarantine_reason} {fault_of(task)}".rstrip()
        if getattr(task, "is_overdue", False):
            return "overdue: it is due, and no scheduler moves it on"
        return _fault(task) or ("active" if task.enabled else "paused")

    @admin.display(description=f"next {NEXT_FIRES} fires")
    def outlook(self, task: PeriodicTask) -> SafeString:
        """In the zone of the crontab, if it has one; the script renews it as one types."""
        words, fires = "", []
        if task.pk:
            words = _words(task)
            with isolation.aside("showing a schedule's next fires"):
                zone = zone_of(rules.row_in(task))
                fires = [written(moment, zone) for moment in upcoming_fires(task, NEXT_FIRES)]
        return render_to_string(
            "scheduling/admin/outlook.html", {"words": words, "fires": fires, "task": task}
        )

    @admin.display(description="timeline")
    def timeline(self, task: PeriodicTask) -> SafeString:
        """Show its last fires, and the next ones, as a picture."""
        fires = readable(Fire.objects.filter(schedule=task.pk))[:FIRES_DRAWN]
        planned: list[datetime] = []
        with isolation.aside("drawing a schedule's next fires"):
            planned += upcoming_fires(task, NEXT_FIRES)
        drawn = timeline.draw(fires, planned, database_now())
        return render_to_string("scheduling/admin/timeline.html", {"timeline": drawn})

    @admin.display(description="fires so far")
    def fires_so_far(self, task: PeriodicTask) -> SafeString:
        zone = zone_of(rules.row_in(task))
        fires = [
            (fire, written(fire.scheduled_for, zone))
            for fire in readable(Fire.objects.filter(schedule=task.pk))[:FIRES_SHOWN]
        ]
        return render_to_string("scheduling/admin/fires.html", {"fires": fires, "task": task})

    @admin.action(description="Pause", permissions=["steer"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._act_on_selected(request, queryset.filter(enabled=True), jobs.pause, "Paused")

    @admin.action(description="Resume", permissions=["steer"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._act_on_selected(request, queryset.filter(enabled=False), jobs.resume, "Resumed")

    @admin.action(description="Run now", permissions=["steer"])
    def run_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._act_on_selected(request, queryset, jobs.run_now, "Run now")

    def _act_on_selected(
        self, request: HttpRequest, tasks: Iterable[Any], verb: Any, done: str
    ) -> None:
        """Do it to each, and log who did it."""

        def act(task: Any) -> str:
            if not (why := _refusal(verb, task)):
                self.log_change(request, task, done)
            return why

        acted, faults = isolation.each(tasks, act, stage="acting on schedules", key=_key)
        messages.success(request, f"{done}: {acted.count('')}.")
        for why in filter(None, acted):
            messages.error(request, why)
        for task, fault in faults:
            messages.error(request, f"{task.name}: {_fault(task) or fault.error}")

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer to pause what is active, and to resume what is paused."""
        offered: list[Any] = super().get_actions_detail(request, object_id)
        active = PeriodicTask.objects.filter(pk=object_id, enabled=True).exists()
        return [one for one in offered if one.path != ("resume" if active else "pause")]

    @with_dialog("Pause", "steer", "pause", DIALOGS["pause"])
    def pause(self, request: HttpRequest, _form: BaseDialogForm, object_id: int) -> HttpResponse:
        return self._act_on_one(request, object_id, jobs.pause, "Paused")

    @with_dialog("Resume", "steer", "play_arrow", DIALOGS["resume"])
    def resume(self, request: HttpRequest, _form: BaseDialogForm, object_id: int) -> HttpResponse:
        return self._act_on_one(request, object_id, jobs.resume, "Resumed")

    @with_dialog("Run now", "steer", "bolt", DIALOGS["run"])
    def run(self, request: HttpRequest, _form: BaseDialogForm, object_id: int) -> HttpResponse:
        return self._act_on_one(request, object_id, jobs.run_now, "Run now")

    @with_page("Backfill", "steer", "replay")
    def backfill(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Run it for due times of the past, after a preview."""
        task = self.get_queryset(request).filter(pk=object_id).first()
        if task is None:
            raise Http404
        if fault := fault_of(task):
            return answer(request, reverse(PAGE, args=[task.pk]), fault, is_done=False)
        return backfill.page(request, self, task)

    def _act_on_one(
        self,
        request: HttpRequest,
        object_id: int,
        verb: Callable[[str], UUID | None],
        done: str,
    ) -> HttpResponse:
        task = self.get_queryset(request).get(pk=object_id)
        refusals, faults = isolation.each(
            [task], lambda task: _refusal(verb, task), stage="acting on a schedule", key=_key
        )
        where = reverse(PAGE, args=[task.pk])
        for why in filter(None, refusals):
            return answer(request, where, why, is_done=False)
        for _, fault in faults:
            return answer(request, where, _fault(task) or fault.error, is_done=False)
        self.log_change(request, task, done)
        return answer(request, where, f"{done}.")

    @with_dialog("Duplicate", "duplicate", "content_copy", DIALOGS["duplicate"])
    def duplicate(
        self, request: HttpRequest, _form: BaseDialogForm, object_id: int
    ) -> HttpResponse:
        task = self.get_queryset(request).get(pk=object_id)
        if fault := fault_of(task):
            return answer(request, reverse(PAGE, args=[task.pk]), fault, is_done=False)
        copy = job_rows.duplicate(task.name)
        self.log_addition(request, copy, "Duplicated")
        text = "This is the copy. It is paused: change it, then resume it."
        return answer(request, reverse(PAGE, args=[copy.pk]), text)


def _refusal(verb: Callable[[str], UUID | None], task: PeriodicTask) -> str:
    """Do it to a schedule; return why it may not be done, empty if it was."""
    try:
        verb(task.name)
    except jobs.InvalidJob as error:
        return str(error)
    return ""


def _fault(task: PeriodicTask) -> str:
    """Say what cannot be read of a schedule, whether or not a scheduler has found it."""
    if fault := fault_of(task):
        return fault
    try:
        read_json(task)
    except MalformedMessage as error:
        return str(error)
    return ""


def _words(task: PeriodicTask) -> str:
    """Say a schedule's rule in English; empty if there is none to be read."""
    said: list[str] = []
    with isolation.aside("saying a schedule's rule"):
        said.append(words_of(task))
    return "".join(said)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _key(task: PeriodicTask) -> str:
    return str(task.pk)


def _schedule(task: PeriodicTask) -> Schedule | None:
    return getattr(task, "firing", None)
