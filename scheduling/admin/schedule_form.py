"""The form of a schedule: when, what and how, checked by field."""

from copy import copy
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model
from django_celery_beat.admin import PeriodicTaskForm, TaskSelectWidget
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from scheduling import (
    arguments,
    isolation,
    jobs,
    preview,
    rules,
)
from scheduling.admin.policy import TYPED_RULE
from scheduling.admin.when import (
    NEEDED,
    ONCE,
    WhenForm,
    when_of,
)
from scheduling.clock import database_now
from scheduling.job_schema import HOW_TO_ALLOW
from scheduling.messages import MalformedMessage, read, read_headers
from scheduling.recurrence import RuleEnded

RULES = ("interval", "crontab", "clocked", "solar")


class TaskSelect(UnfoldAdminSelectWidget, TaskSelectWidget):  # type: ignore[misc]  # untyped
    """The registered tasks, in the theme's dress."""


class ScheduleForm(WhenForm, PeriodicTaskForm):  # type: ignore[misc]  # untyped
    """A schedule; the rule that ``when`` describes is found or made with it."""

    is_rule_new = False
    """Whether ``document`` is another rule than the schedule had."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            with isolation.aside("filling a schedule's form"):
                self.initial.update(when_of(self.instance))
        if "name" in self.fields:  # not where one may only look
            self.fields["name"].help_text = "Its name, for people and code."
            self.fields["enabled"].help_text = "Whether it fires."
            self.fields["description"].help_text = "For colleagues."
            self.fields["description"].widget.attrs["rows"] = 2
            self.fields["task"].widget = UnfoldAdminTextInputWidget()
            self.fields["regtask"].widget = TaskSelect()

    def clean_args(self) -> str:
        """Refuse arguments that no message could hold."""
        return self._read("args")

    def clean_kwargs(self) -> str:
        """Refuse keyword arguments that no message could hold."""
        return self._read("kwargs")

    def _read(self, column: str) -> str:
        text: str = self.cleaned_data[column]
        try:
            if column == "args":
                read(column, text, [])
            else:
                read(column, text, {})
        except MalformedMessage as error:
            raise ValidationError(str(error)) from None
        return text

    def clean_headers(self) -> str:
        """Refuse headers that would break the message."""
        text: str = self.cleaned_data["headers"]
        try:
            read_headers(text)
        except MalformedMessage as error:
            raise ValidationError(str(error)) from None
        return text

    def clean(self) -> dict[str, Any]:
        # django-celery-beat looks for it also where it was refused, as too long.
        self.cleaned_data.setdefault("task", "")
        data = super().clean()
        self._check_limits(data)
        if not self.errors:
            self._check_arguments(data)
        if self.rule is not None and not self.errors:
            self._set_rule(self.rule, data)
        if not self.errors and self.instance.pk and "enabled" in self.changed_data:
            self._check_has_not_ended(data)
        return data

    def validate_unique(self) -> None:
        """Ask whether it has exactly one rule only where a rule could be set."""
        if not self.errors:  # else none was: its lack would be told beside the real mistake
            super().validate_unique()
            return
        try:
            Model.validate_unique(self.instance, self._get_validation_exclusions())
        except ValidationError as error:
            self._update_errors(error)

    def _check_has_not_ended(self, data: dict[str, Any]) -> None:
        """Refuse to resume a schedule with the rule that it had, if that is due no more."""
        if not data.get("enabled") or self.is_rule_new:
            return
        task = copy(self.instance)
        task.enabled = True
        task.start_time, task.expires = data.get("start_time"), data.get("expires")
        try:
            preview.refuse_ended(task)
        except RuleEnded as error:
            self.add_error("enabled", str(error))

    def _check_limits(self, data: dict[str, Any]) -> None:
        """Refuse an expiry that leaves it no due time."""
        start, expires = data.get("start_time"), data.get("expires")
        if expires is None:
            return
        if start is not None and expires < start:
            self.add_error("expires", "It is before the start.")
        elif "expires" in self.changed_data and expires < database_now():
            self.add_error("expires", "It is in the past.")

    def _check_arguments(self, data: dict[str, Any]) -> None:
        """Say what the task would refuse; a schedule that calls what it called may be changed."""
        if self.instance.pk and not {"task", "regtask", "args", "kwargs"} & {*self.changed_data}:
            return
        task = self.task_to_allow(data)
        if not jobs.is_allowed(task):
            self.add_error(None, f"The task {task!r} may not be scheduled. {HOW_TO_ALLOW}")
            return
        try:
            args = read("args", data.get("args"), [])
            kwargs = read("kwargs", data.get("kwargs"), {})
            arguments.check(data.get("task") or "", args, kwargs)
        except arguments.InvalidArguments as error:
            self.add_error(*self.beside(error))
        except MalformedMessage as error:
            unfit = arguments.InvalidArguments(str(error), field=error.column)
            self.add_error(*self.beside(unfit))

    def task_to_allow(self, data: dict[str, Any]) -> str:
        """Return the task that has to be on the allow-list."""
        return data.get("task") or ""

    def beside(self, error: arguments.InvalidArguments) -> tuple[str, str]:
        """Return the form's field that an argument comes from, and say what is wrong with it."""
        return error.field.partition(".")[0], str(error)

    def _set_rule(self, rule: Any, data: dict[str, Any]) -> None:
        """Have the schedule use this rule alone; one that was not touched keeps its row."""
        when = data["when"]
        as_it_was = not {"when", *NEEDED[when]} & {*self.changed_data} and self.instance.pk
        row = rules.row_in(self.instance) if as_it_was else rules.keep(rule)
        self.is_rule_new = not as_it_was
        was_once = self.initial.get("when") == ONCE
        data |= dict.fromkeys(RULES) | {rules.field_of(row): row}
        if self.document is not None:
            setattr(self.instance, TYPED_RULE, rules.own_of(self.document, row))
        data["one_off"] = when == ONCE or (data.get("one_off", False) and not was_once)
