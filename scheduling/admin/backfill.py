"""The page that runs a schedule for past due times: first what would run and when, then the run."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django_celery_beat.models import PeriodicTask
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSplitDateTimeWidget

from scheduling import backfills, isolation, job_rows, rules
from scheduling.admin.pages import answer
from scheduling.admin.when import shown, zone_of
from scheduling.job_schema import InvalidJob

SHOWN = 50
"""Runs that the preview lists; it counts the others."""

Runs = list[tuple[datetime, datetime]]
"""Due times, each with the moment at which it is run."""


class BackfillForm(forms.Form):
    """Which due times of the past, and how fast."""

    since = forms.SplitDateTimeField(
        label="From",
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="The first due time of the range is at or after this moment.",
    )
    until = forms.SplitDateTimeField(
        label="Until",
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text=f"A moment that has passed. {backfills.MOST:,} due times at most.",
    )
    pace = forms.IntegerField(
        label="Seconds between two runs",
        min_value=0,
        initial=60,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="0 runs all of them at once.",
    )

    def runs_of(self, task: PeriodicTask, *, dry_run: bool) -> Runs | None:
        """Return what is run, or ``None`` with the errors beside their fields."""
        if not self.is_valid():
            return None
        since, until = self.cleaned_data["since"], self.cleaned_data["until"]
        pace = timedelta(seconds=self.cleaned_data["pace"])
        try:
            return job_rows.backfill(task.name, since, until, pace=pace, dry_run=dry_run)
        except InvalidJob as error:
            self.add_error(error.field if error.field in self.fields else None, str(error))
            return None


def page(request: HttpRequest, model_admin: Any, task: PeriodicTask) -> HttpResponse:
    """Tell what a backfill would run, then run it. The caller has checked the permission."""
    where = reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])
    form, is_ordered = BackfillForm(request.POST or None), "go" in request.POST
    read, faults = isolation.each(
        [task],
        lambda task: form.runs_of(task, dry_run=not is_ordered),
        stage="backfilling a schedule",
        key=lambda task: str(task.pk),
    )
    for _, fault in faults:
        return answer(request, where, f"It cannot be read ({fault.error}).", is_done=False)
    (runs,) = read
    if is_ordered and runs is not None:
        model_admin.log_change(request, task, _said(form, runs))
        return answer(request, where, f"Backfill: {len(runs)} runs.")
    zone = zone_of(rules.row_in(task))
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "original": task,
        "title": f"Backfill {task.name}",
        "form": form,
        "runs": runs,
        "shown": [(shown(due, zone), shown(at, zone)) for due, at in (runs or [])[:SHOWN]],
        "hidden": max(len(runs or []) - SHOWN, 0),
        "last": shown(runs[-1][1], zone) if runs else "",
    }
    return TemplateResponse(request, "scheduling/admin/backfill.html", context)


def _said(form: BackfillForm, runs: Runs) -> str:
    """Say in the admin's log what was ordered."""
    since, until = (form.cleaned_data[name].isoformat() for name in ("since", "until"))
    pace = form.cleaned_data["pace"]
    return f"Backfill of {len(runs)} runs, from {since} until {until}, one each {pace} s."
