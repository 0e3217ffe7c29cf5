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
from scheduling.job_schema import InvalidJob
from scheduling.models import Schedule
from scheduling.preview import fires_if, fires_of, upcoming_fires
from scheduling.recurrence import ImpossibleSchedule
from scheduling.rule_documents import Rule
from scheduling.rule_documents import is_plain as is_plain_rule
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

    ``document`` is the rule as a job's definition has it; it is kept if no row can hold it.

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
    document: Rule | None = None

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
            document = _rule(when, data)
            rule = rules.row_of(document)
            rule.full_clean()
            if when != ONCE or "at" in self.changed_data:  # one that has fired may still be edited
                fires_of(document, 1)
        except InvalidJob as error:
            self.add_error("timezone" if "zone" in str(error) else NEEDED[when][0], str(error))
        except ValidationError as error:
            self.add_error(NEEDED[when][0], error.messages)
        except ImpossibleSchedule as error:
            past = "This time is in the past." if when == ONCE else str(error)
            self.add_error(NEEDED[when][0], past)
        else:
            self.rule, self.document = rule, document


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
        if self.rule is None or self.document is None:
            return {"words": "", "fires": [], "problem": ""}
        is_plain = is_plain_rule(self.document)
        words = rules.words(self.rule) if is_plain else rules.document_words(self.document)
        start, expires = self.cleaned_data["start_time"], self.cleaned_data["expires"]
        try:
            if task is None:
                moments = fires_of(self.document, count, start=start, expires=expires)
            else:
                moments = fires_if(task, self.document, count, start=start, expires=expires)
        except ImpossibleSchedule as error:
            return {"words": words, "fires": [], "problem": str(error)}
        zone = zone_of(self.rule)
        fires = [shown(moment, zone) for moment in moments]
        said = {"words": words, "fires": fires, "problem": ""}
        return said if task is None else said | self._moves(task, moments, zone)

    def _moves(self, task: PeriodicTask, moments: list[datetime], zone: Any) -> dict[str, Any]:
        before: list[datetime] = []
        with isolation.aside("reading what a schedule fires by now"):
            before += upcoming_fires(task, len(moments))
        last = min(before[-1:] + moments[-1:], default=None)
        gone = [
            shown(moment, zone)
            for moment in before
            if moment not in moments and moment <= (last or moment)
        ]
        new = [
            shown(moment, zone)
            for moment in moments
            if moment not in before and moment <= (last or moment)
        ]
        return {"no_longer": gone, "new": new}


def when_of(task: PeriodicTask) -> dict[str, Any]:
    """Return what the friendly fields show of a schedule that exists."""
    own = own_rule_of(task)
    if own is not None:
        is_typed = own.keys() <= {"cron", "timezone"}
        return {"when": CRON, "timezone": "UTC", **own} if is_typed else {"when": ROW}
    rule = rules.rule_of(task)
    if "cron" in rule:
        return {"when": CRON, **rule}
    if "every" in rule:
        return {"when": EVERY, "every": task.interval.every, "period": task.interval.period}
    if "at" in rule:
        return {"when": ONCE, "at": task.clocked.clocked_time}
    return {"when": ROW}


def own_rule_of(task: PeriodicTask) -> Rule | None:
    """Return the rule of a schedule that its row only stands for; ``None`` if it has none."""
    kept = Schedule.objects.filter(pk=task.pk).values_list("recurrence", flat=True).first()
    return rules.own_rule(task, kept)


def words_of(task: PeriodicTask) -> str:
    """Say a schedule's rule; empty if it has none."""
    schedule = getattr(task, "firing", None)
    own = rules.own_rule(task, schedule.recurrence) if schedule is not None else None
    row = rules.row_in(task)
    if own is not None:
        return rules.document_words(own)
    return rules.words(row) if row is not None else ""


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
