"""What a person does to schedules in the admin: pause, resume, run, backfill, duplicate."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django_celery_beat.models import PeriodicTask
from unfold.forms import BaseDialogForm

from scheduling import isolation, job_rows, jobs
from scheduling.admin import backfill
from scheduling.admin.pages import answer, with_dialog, with_page
from scheduling.admin.readable import ReadableAdmin, fault_of
from scheduling.admin.schedule_columns import fault_in

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


class ScheduleActions(ReadableAdmin):
    """The actions on selected schedules, and on the one whose page is open."""

    def has_steer_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(request.user.has_perm("scheduling.change_schedule"))

    def has_duplicate_permission(self, request: HttpRequest, _: object = None) -> bool:
        return bool(self.has_add_permission(request))

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
            messages.error(request, f"{task.name}: {fault_in(task) or fault.error}")

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer to pause what is active, and to resume what is paused."""
        offered: list[Any] = super().get_actions_detail(request, object_id)
        active = PeriodicTask.objects.filter(pk=object_id, enabled=True).exists()
        return [action for action in offered if action.path != ("resume" if active else "pause")]

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
            return answer(request, where, fault_in(task) or fault.error, is_done=False)
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


def _key(task: PeriodicTask) -> str:
    return str(task.pk)
