"""When a schedule fires: typed as a crontab line, an interval or a moment, and shown as typed."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.timezone import get_current_timezone, get_current_timezone_name, localtime
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

from scheduling import isolation, rules
from scheduling.job_schema import InvalidJobError
from scheduling.preview import fires_if, fires_of, upcoming_fires
from scheduling.recurrence import ImpossibleScheduleError
from scheduling.rule_documents import Rule
from scheduling.schedule_rows import RuleRow

CRON, EVERY, ONCE, ROW = "cron", "every", "once", "row"
KINDS = [
    (CRON, "At certain times (cron)"),
    (EVERY, "Every so often"),
    (ONCE, "Once"),
    (ROW, "By a rule that is kept elsewhere (the sun, an interval, a crontab)"),
]
NEEDED = {CRON: ("cron", "timezone"), EVERY: ("every", "period"), ONCE: ("at",)}
SECONDS = {period: unit.total_seconds() for unit, period in rules.PERIODS}


class WhenForm(forms.Form):
    """The three friendly ways to say when. ``rule`` is the row for it, once this is clean.

    Without ``when`` the row is chosen by hand, as in django-celery-beat's own form.
    """

    when = forms.ChoiceField(
        choices=KINDS, required=False, initial=CRON, widget=UnfoldAdminSelectWidget
    )
    cron = forms.CharField(
        label="Times",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Minute, hour, day of month, month, day of week: “0 9 * * mon-fri” is nine "
        "o'clock on working days, “*/15 * * * *” every quarter of an hour.",
    )
    timezone = forms.CharField(
        label="Time zone",
        required=False,
        initial=get_current_timezone_name,
        widget=UnfoldAdminTextInputWidget(attrs={"list": "zones", "autocomplete": "off"}),
        help_text="An IANA time zone, like Europe/Rome. Daylight saving time is handled.",
    )
    every = forms.IntegerField(required=False, min_value=1, widget=UnfoldAdminIntegerFieldWidget)
    period = forms.ChoiceField(
        label="Unit",
        required=False,
        choices=IntervalSchedule.PERIOD_CHOICES,
        initial=IntervalSchedule.MINUTES,
        widget=UnfoldAdminSelectWidget,
    )
    at = forms.SplitDateTimeField(
        label="Moment", required=False, widget=UnfoldAdminSplitDateTimeWidget
    )

    rule: RuleRow | None = None

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        when = data.get("when", "")
        if when not in NEEDED:
            return data
        for name in NEEDED[when]:
            if name not in self.errors and data.get(name) in (None, ""):
                self.add_error(name, "This is needed to know when.")
        if not self.errors.keys() & {*NEEDED[when]}:
            self._read_rule(when, data)
        return data

    def _read_rule(self, when: str, data: dict[str, Any]) -> None:
        """Set ``rule``, or say beside its field why it means nothing."""
        try:
            rule = rules.row_of(_rule(when, data))
            rule.full_clean()
            if when != ONCE or "at" in self.changed_data:  # one that has fired may still be edited
                fires_of(rule, 1)
        except InvalidJobError as error:
            self.add_error("timezone" if "zone" in str(error) else NEEDED[when][0], str(error))
        except ValidationError as error:
            self.add_error(NEEDED[when][0], error.messages)
        except ImpossibleScheduleError as error:
            past = "This moment is past." if when == ONCE else str(error)
            self.add_error(NEEDED[when][0], past)
        else:
            self.rule = rule


class OutlookForm(WhenForm):
    """What is typed into a schedule's form, so far as it decides when it fires."""

    start_time = forms.SplitDateTimeField(required=False)
    expires = forms.SplitDateTimeField(required=False)

    def outlook(self, count: int, task: PeriodicTask | None = None) -> dict[str, Any]:
        """Say it in words, and give the next fires; or the problem with it.

        With a task that has another rule, say which of its next fires move: those that it has
        ``no_longer``, and those that are ``new``.
        """
        if not self.is_valid():
            problems = [f"{text}" for texts in self.errors.values() for text in texts]
            return {"words": "", "fires": [], "problem": " ".join(problems)}
        if self.rule is None:
            return {"words": "", "fires": [], "problem": ""}
        start, expires = self.cleaned_data["start_time"], self.cleaned_data["expires"]
        try:
            if task is None:
                moments = fires_of(self.rule, count, start=start, expires=expires)
            else:
                moments = fires_if(task, self.rule, count, start=start, expires=expires)
        except ImpossibleScheduleError as error:
            return {"words": rules.words(self.rule), "fires": [], "problem": str(error)}
        zone = zone_of(self.rule)
        fires = [shown(moment, zone) for moment in moments]
        said = {"words": rules.words(self.rule), "fires": fires, "problem": ""}
        return said if task is None else said | self._moves(task, moments, zone)

    def _moves(self, task: PeriodicTask, moments: list[datetime], zone: Any) -> dict[str, Any]:
        before: list[datetime] = []
        with isolation.aside("reading what a schedule fires by now"):
            before += upcoming_fires(task, len(moments))
        last = min(before[-1:] + moments[-1:], default=None)
        gone = [shown(one, zone) for one in before if one not in moments and one <= (last or one)]
        new = [shown(one, zone) for one in moments if one not in before and one <= (last or one)]
        return {"no_longer": gone, "new": new}


def when_of(task: PeriodicTask) -> dict[str, Any]:
    """Return what the friendly fields show of a schedule that exists."""
    rule = rules.rule_of(task)
    if "cron" in rule:
        return {"when": CRON, **rule}
    if "every" in rule:
        return {"when": EVERY, "every": task.interval.every, "period": task.interval.period}
    if "at" in rule:
        return {"when": ONCE, "at": task.clocked.clocked_time}
    return {"when": ROW}


def zone_of(rule: RuleRow | None) -> Any:
    """Return the zone in which people think of a rule: its own, else the admin's."""
    return getattr(rule, "timezone", None) or get_current_timezone()


def shown(moment: datetime, zone: ZoneInfo | None) -> str:
    """Write a moment for people, in the schedule's zone."""
    return f"{localtime(moment, zone):%a %d %b %Y, %H:%M:%S %Z}"


def _rule(when: str, data: dict[str, Any]) -> Rule:
    if when == CRON:
        return {"cron": data["cron"], "timezone": data["timezone"]}
    if when == EVERY:
        return {"every": data["every"] * SECONDS[data["period"]]}
    return {"at": data["at"].isoformat()}
