"""Schedules of notifications: what to send, to whom, checked as if it were sent now."""

import json
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect, RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path
from django_celery_beat.models import PeriodicTask
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from notifications import clock, requests, routing
from notifications.channels import CHANNELS
from notifications.errors import InvalidNotification
from notifications.privacy import mask
from scheduling.admin.schedules import ScheduleAdmin, ScheduleForm
from templates_engine.models import Status, Template, TemplateVersion

NOTIFICATION, TASK = "notification", "task"
OWN_FIELDS = ("channel", "template", "context", "subject", "body", "priority")
MOST_RECIPIENTS = 1000
SEE_CONTENT = "notifications.view_content"


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
        help_text="One per line: a mail address, a number like +436641234567, a token, a URL. "
        "Several are sent as one batch.",
    )
    template = forms.ModelChoiceField(
        Template.objects.all(),
        required=False,
        help_text="What is published when it fires. Empty: the text below.",
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
        help_text="high is for what somebody waits for, low for campaigns.",
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
        recipients = data.get("recipients", "").split("\n")
        recipients = [line.strip() for line in recipients if line.strip()]
        fields = self._fields()
        self._check(recipients, fields)
        one = len(recipients) == 1
        whom = {"recipient": recipients[0]} if one else {"recipients": recipients}
        data["task"] = routing.SEND_TASK if one else routing.SEND_TO_EACH_TASK
        data |= {"regtask": "", "args": "[]", "kwargs": json.dumps(whom | fields)}

    def _fields(self) -> dict[str, Any]:
        data = self.cleaned_data
        template = data.get("template")
        given = {
            "channel": template.channel if template else data.get("channel"),
            "template": template.name if template else "",
            "context": data.get("context"),
            "subject": data.get("subject"),
            "body": data.get("body"),
            "priority": data.get("urgency"),
        }
        return {
            **(data.get("more") or {}),
            **{name: value for name, value in given.items() if value},
        }

    def _check(self, recipients: list[str], fields: dict[str, Any]) -> None:
        """Say beside its field what the door would refuse."""
        if not recipients:
            self.add_error("recipients", "Say whom to send it to.")
        elif len(recipients) > MOST_RECIPIENTS:
            self.add_error(
                "recipients", f"More than {MOST_RECIPIENTS}: make a task of your own for these."
            )
        for recipient in recipients[:MOST_RECIPIENTS]:
            try:
                requests.check(requests.read({**fields, "recipient": recipient}), clock.now())
            except InvalidNotification as error:
                name = {"recipient": "recipients", "priority": "urgency"}.get(error.field)
                name = name or (error.field if error.field in OWN_FIELDS else "more")
                text = f"{recipient}: {error}" if name == "recipients" else str(error)
                self.add_error(name, text)
                return


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
                    "recipients",
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
        **dict.fromkeys(("recipients", "template", "urgency", "more"), f"what == '{NOTIFICATION}'"),
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
        if task.task not in (routing.SEND_TASK, routing.SEND_TO_EACH_TASK):
            return str(task.task)
        fields = _kwargs(task)
        what = fields.get("template") or fields.get("subject") or "a text"
        whom = fields.get("recipients") or [fields.get("recipient", "")]
        to = mask(str(whom[0])) if len(whom) == 1 else f"{len(whom)} recipients"
        return f"{fields.get('channel', '')}: {what} to {to}"


def _kwargs(task: PeriodicTask) -> dict[str, Any]:
    try:
        found = json.loads(task.kwargs or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _what_of(task: PeriodicTask) -> dict[str, Any]:
    """Give what the friendly fields show of a schedule that exists."""
    fields = _kwargs(task)
    if task.task not in (routing.SEND_TASK, routing.SEND_TO_EACH_TASK) or not fields:
        return {"what": TASK}
    whom = fields.pop("recipients", None) or [fields.pop("recipient", "")]
    template = Template.objects.filter(name=fields.pop("template", "")).first()
    return {
        "what": NOTIFICATION,
        "recipients": "\n".join(str(one) for one in whom),
        "template": template,
        "context": fields.pop("context", {}),
        "channel": fields.pop("channel", ""),
        "subject": fields.pop("subject", ""),
        "body": fields.pop("body", ""),
        "urgency": fields.pop("priority", routing.DEFAULT_PRIORITY),
        "more": fields,
    }
