"""Schedules of notifications: what to send, to whom, checked as if it were sent now."""

import json
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect, RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path
from django_celery_beat.models import PeriodicTask
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from notifications.admin.audience import why_too_slow
from notifications.audiences.saved import FilterTooSlow
from notifications.channels import CHANNELS
from notifications.core import routing
from notifications.core.masking import mask
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.models import Audience
from notifications.submission import repeats
from scheduling import isolation
from scheduling.admin.schedule_form import ScheduleForm
from scheduling.admin.schedules import ScheduleAdmin
from scheduling.arguments import InvalidArguments
from templates_engine.models import Status, Template, TemplateVersion

NOTIFICATION, TASK = "notification", "task"
OWN_FIELDS = ("channel", "template", "context", "subject", "body", "priority")
MOST_RECIPIENTS = 1000
STORED = "to:"  # begins the line of a stored recipient


def _template_widget(choices: Any) -> forms.Widget:
    """Find templates by typing: a dropdown would load them all."""
    field = TemplateVersion._meta.get_field("template")
    select = AutocompleteSelect(field, admin.site, choices=choices)
    return RelatedFieldWidgetWrapper(
        select, field.remote_field, admin.site, can_add_related=False, can_change_related=False
    )


class NotificationScheduleForm(ScheduleForm):
    """A schedule whose task is to send; ``what`` set to another leaves the task as it is typed."""

    what = forms.ChoiceField(
        choices=[(NOTIFICATION, "Send a notification"), (TASK, "Run another task")],
        required=False,
        initial=NOTIFICATION,
        widget=UnfoldAdminSelectWidget,
    )
    recipients = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="One per line: a mail address, a number like +436641234567, a token, a URL; or "
        "a stored recipient, like to: customer-17. Several are sent as one batch.",
    )
    audience = forms.ModelChoiceField(
        Audience.objects.filter(test=False),
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="An audience in place of recipients: its members at the moment of each fire. "
        "More fields can say which attributes fill the template's variables: "
        '{"variables": {"name": "attributes.first_name"}}.',
    )
    template = forms.ModelChoiceField(
        Template.objects.exclude(namespace__endswith=":test"),
        required=False,
        help_text="The version that is live when the schedule fires is sent. Empty: the text "
        "below.",
    )
    context = forms.JSONField(
        required=False,
        initial=dict,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 5, "spellcheck": "false"}),
        help_text="The template's variables, as JSON.",
    )
    channel = forms.ChoiceField(
        required=False,
        choices=[("", "the template's"), *((name, name) for name in CHANNELS)],
        widget=UnfoldAdminSelectWidget,
    )
    subject = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget)
    body = forms.CharField(required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}))
    urgency = forms.ChoiceField(
        label="Priority",
        required=False,
        choices=[(name, name) for name in routing.PRIORITIES],
        initial=routing.DEFAULT_PRIORITY,
        widget=UnfoldAdminSelectWidget,
        help_text="high is for messages that somebody waits for, low for campaigns.",
    )
    more = forms.JSONField(
        label="More fields",
        required=False,
        initial=dict,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="As JSON: locale, expires (seconds), reference, metadata, guarantee, "
        "callback_url, …",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        template = cast("forms.ModelChoiceField[Template]", self.fields["template"])
        template.widget = _template_widget(template.choices)
        if self.instance.pk:
            with isolation.aside("filling a schedule's form"):
                self.initial.update(_what_of(self.instance))

    def clean_more(self) -> dict[str, Any]:
        more = self.cleaned_data["more"]
        if not isinstance(more, dict | None):
            raise forms.ValidationError('Give a JSON object, like {"locale": "it"}.')
        return more or {}

    def clean(self) -> dict[str, Any]:
        if self.cleaned_data.get("what") == NOTIFICATION:
            self._write_task()
        return super().clean()

    def _write_task(self) -> None:
        """Turn the friendly fields into the task and its arguments, if they could be sent now."""
        data = self.cleaned_data
        recipients = _recipients(data)
        fields = self._fields()
        self._check(recipients)
        stored = [_stored(recipient) for recipient in recipients]
        whom: dict[str, Any]
        if (audience := data.get("audience")) is not None:
            task, whom = routing.SEND_TO_AUDIENCE_TASK, {"audience": audience.name}
            if audience.project != DEFAULT_PROJECT:
                fields.setdefault("project", audience.project)
        elif len(recipients) == 1:
            task, whom = routing.SEND_TASK, repeats.to_one(stored[0])
        else:
            task, whom = routing.SEND_TO_EACH_TASK, {"recipients": stored}
        data |= {"task": task, "regtask": "", "args": "[]", "kwargs": json.dumps(whom | fields)}

    def _fields(self) -> dict[str, Any]:
        data = self.cleaned_data
        template = data.get("template")
        given = {
            "channel": template.channel if template else data.get("channel"),
            "template": template.name if template else "",
            "project": template.namespace if template else "",
            "context": data.get("context"),
            "subject": data.get("subject"),
            "body": data.get("body"),
            "priority": data.get("urgency"),
        }
        return {
            **(data.get("more") or {}),
            **{name: value for name, value in given.items() if value},
        }

    def _check(self, recipients: list[str]) -> None:
        """Say whom there are too few or too many of."""
        if self.cleaned_data.get("audience") is not None:
            if recipients:
                self.add_error("audience", "Give recipients or an audience, not both.")
        elif not recipients:
            self.add_error("recipients", "Name the recipients or an audience.")
        elif len(recipients) > MOST_RECIPIENTS:
            self.add_error(
                "recipients", f"More than {MOST_RECIPIENTS}: make a task of your own for these."
            )

    def _check_arguments(self, data: dict[str, Any]) -> None:
        if data.get("what") == NOTIFICATION:
            self.changed_data.append("kwargs")  # which the friendly fields stand for
        try:
            with transaction.atomic():  # what the database ends, ends no more than this
                super()._check_arguments(data)
        except FilterTooSlow as error:
            friendly = data.get("what") == NOTIFICATION
            self.add_error("audience" if friendly else "kwargs", why_too_slow(error))

    def task_to_allow(self, data: dict[str, Any]) -> str:
        """Return the task of one send for what stands in the friendly fields."""
        friendly = data.get("what") == NOTIFICATION
        return routing.SEND_TASK if friendly else super().task_to_allow(data)

    def beside(self, error: InvalidArguments) -> tuple[str, str]:
        """Return the friendly field that an argument comes from, and say what is wrong with it."""
        if self.cleaned_data.get("what") != NOTIFICATION:
            return super().beside(error)
        _, name, number = f"{error.field}..".split(".")[:3]
        if name in ("recipient", "recipients", "to"):
            recipients = _recipients(self.cleaned_data)
            place = int(number) if number.isdecimal() else 0
            recipient = recipients[place] if recipients else ""
            return "recipients", f"{recipient}: {error}"
        name = {"priority": "urgency"}.get(name, name)
        return (name if name in (*OWN_FIELDS, "urgency", "audience") else "more"), str(error)


admin.site.unregister(PeriodicTask)


@admin.register(PeriodicTask)
class NotificationScheduleAdmin(ScheduleAdmin):
    """Every schedule; those of notifications in fields of their own."""

    form = NotificationScheduleForm
    WHAT = (
        (
            "What",
            {
                "fields": (
                    "what",
                    ("recipients", "audience"),
                    ("template", "urgency"),
                    "context",
                    "channel",
                    "subject",
                    "body",
                    "more",
                    ("regtask", "task"),
                    ("args", "kwargs"),
                )
            },
        ),
    )
    conditional_fields = {
        **ScheduleAdmin.conditional_fields,
        **dict.fromkeys(
            ("recipients", "audience", "template", "urgency", "more"), f"what == '{NOTIFICATION}'"
        ),
        "context": f"what == '{NOTIFICATION}' && template",
        **dict.fromkeys(("channel", "subject", "body"), f"what == '{NOTIFICATION}' && !template"),
        **dict.fromkeys(("regtask", "task", "args", "kwargs"), f"what == '{TASK}'"),
    }

    class Media:
        js = ("notifications/schedule.js",)

    def get_urls(self) -> list[URLPattern]:
        """Add what the form's script asks of a template."""
        variables = path(
            "template-variables/<int:template_id>/",
            self.admin_site.admin_view(self.template_variables),
            name="notifications_template_variables",
        )
        return [variables, *super().get_urls()]

    def template_variables(self, request: HttpRequest, template_id: int) -> JsonResponse:
        """Name what a template's published version needs, with its sample context."""
        if not request.user.has_perm("templates_engine.view_template"):
            raise PermissionDenied
        versions = TemplateVersion.objects.filter(
            template_id=template_id, status=Status.PUBLISHED
        ).select_related("template")
        version = versions.first()
        if version is None:
            return JsonResponse({"problem": "It has no published version: publish one first."})
        return JsonResponse({"needed": sorted(version.required), "sample": version.sample_context})

    @admin.display(description="does", ordering="task")
    def does(self, task: PeriodicTask) -> str:
        """In words; whom it writes to is masked."""
        if task.task not in routing.SENDING_TASKS:
            return str(task.task)
        fields = _kwargs(task)
        content = fields.get("template") or fields.get("subject") or "a text"
        recipients = _whom(fields)
        to = mask(_line(recipients[0])) if len(recipients) == 1 else f"{len(recipients)} recipients"
        if "audience" in fields:
            to = f"the audience {fields['audience']}"
        return f"{fields.get('channel', '')}: {content} to {to}"


def _recipients(data: dict[str, Any]) -> list[str]:
    lines = data.get("recipients", "").split("\n")
    return [line.strip() for line in lines if line.strip()]


def _stored(line: str) -> str | dict[str, str]:
    """Return what a line stands for: an address, or a stored recipient."""
    key = line.removeprefix(STORED)
    return line if key == line else {"recipient": key.strip()}


def _line(recipient: Any) -> str:
    """Return the line of a recipient."""
    is_stored = isinstance(recipient, dict) and recipient.keys() == {"recipient"}
    return f"{STORED} {recipient['recipient']}" if is_stored else str(recipient)


def _kwargs(task: PeriodicTask) -> dict[str, Any]:
    try:
        fields = json.loads(task.kwargs or "{}")
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _whom(fields: dict[str, Any]) -> list[Any]:
    """Return the recipients that a schedule's arguments name, one empty if they name none."""
    several = fields.get("recipients")
    recipient = fields.get("recipient") or fields.get("to") or ""
    return several if several and isinstance(several, list) else [recipient]


def _what_of(task: PeriodicTask) -> dict[str, Any]:
    """Return what the friendly fields show of a schedule that exists."""
    fields = _kwargs(task)
    if task.task not in routing.SENDING_TASKS or not fields:
        return {"what": TASK}
    recipients = _whom(fields)
    is_both = fields.get("recipient") and fields.get("to")  # then the other stays as it is
    for name in ("recipient", "recipients", *(() if is_both else ("to",))):
        fields.pop(name, None)
    project = str(fields.get("project", DEFAULT_PROJECT))
    namespace = World(project).namespace
    audiences = Audience.objects.filter(project=project, test=False)
    named = {"name": fields.pop("template", ""), "namespace": namespace}
    template = Template.objects.filter(**named).first()
    return {
        "what": NOTIFICATION,
        "recipients": "\n".join(_line(recipient) for recipient in recipients),
        "audience": audiences.filter(name=fields.pop("audience", "")).first(),
        "template": template,
        "context": fields.pop("context", {}),
        "channel": fields.pop("channel", ""),
        "subject": fields.pop("subject", ""),
        "body": fields.pop("body", ""),
        "urgency": fields.pop("priority", routing.DEFAULT_PRIORITY),
        "more": fields,
    }
