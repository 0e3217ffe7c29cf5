"""The page to send from: a template, whom to, what would become of it, then send."""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from notifications import submission
from notifications.admin import workbook
from notifications.admin.audience import why_too_slow
from notifications.api.batch_bodies import FIELDS, rows_of_csv
from notifications.api.csv_rows import UnreadableFile
from notifications.api.problems import Problem
from notifications.audiences import saved
from notifications.audiences import sending as audiences
from notifications.core import routing
from notifications.core.errors import IdempotencyConflict, InvalidNotification
from notifications.core.world import DEFAULT_PROJECT, LIVE
from notifications.db import clock
from notifications.models import Audience
from notifications.operations import campaigns
from notifications.submission import repeats
from notifications.submission.repeats import Item
from templates_engine.models import Status, TemplateVersion

MOST_ROWS = 10_000
MOST_CHARACTERS = 2_000_000
LOOKED_AT = 1000  # recipients of an audience
NOW, LATER, LOCALLY = "now", "later", "locally"
MORNING = "09:00"


@dataclass(frozen=True, slots=True)
class Rows:
    """What was typed or dropped, row by row; ``lines`` are those of the CSV."""

    items: Sequence[Item] = ()
    lines: Sequence[int] = ()
    columns: Sequence[tuple[str, str]] = field(default=())


class SendForm(forms.Form):
    """What to send, whom to, and when."""

    template = forms.ChoiceField(
        choices=lambda: [(str(v.pk), f"{v.template.name} ({v.template.channel})") for v in _live()],
        widget=UnfoldAdminSelectWidget,
    )
    rows = forms.CharField(
        label="Recipients",
        max_length=MOST_CHARACTERS,
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8, "spellcheck": "false"}),
        help_text="Paste a CSV, or choose a CSV file or an Excel workbook (its first visible sheet "
        "is read). The first line names the columns: recipient has addresses, or to has ids of "
        "stored recipients; category, reference, locale, local_time and idempotency_key are "
        "fields; every other column is a variable of the template.",
    )
    audience = forms.ModelChoiceField(
        Audience.objects.filter(project=DEFAULT_PROJECT, test=False),
        required=False,
        empty_label="none: the recipients above",
        widget=UnfoldAdminSelectWidget,
        help_text="An audience in place of recipients: its members at the moment of sending. "
        "Attributes with the names of the template's variables fill them.",
    )
    name = forms.CharField(
        label="Name of the batch",
        max_length=255,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="To find the batch later.",
    )
    priority = forms.ChoiceField(
        choices=[(name, name) for name in routing.PRIORITIES],
        initial="low",
        widget=UnfoldAdminSelectWidget,
        help_text="low is for campaigns: urgent messages, such as codes, do not wait behind it.",
    )
    when = forms.ChoiceField(
        choices=[(NOW, "Now"), (LATER, "Later"), (LOCALLY, "In the recipients' morning")],
        widget=UnfoldAdminSelectWidget,
    )
    at = forms.DateTimeField(
        label="Later, at",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
        help_text="In your time zone, which the times on these pages show.",
    )
    morning = forms.TimeField(
        label="In the recipients' morning, at",
        required=False,
        initial=MORNING,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "time"}),
        help_text="In each recipient's time zone: that of a stored recipient, otherwise the "
        "system's.",
    )
    key = forms.CharField(widget=forms.HiddenInput, max_length=64)

    def clean(self) -> dict[str, Any]:
        """Read the rows as the API reads a CSV, or check what goes to an audience."""
        data: dict[str, Any] = super().clean() or {}
        if data.get("when") == LATER and not data.get("at") and "at" not in self.errors:
            self.add_error("at", "Say when.")
        if data.get("when") == LATER and data.get("at") and data["at"] <= clock.now():
            self.add_error("at", "This time is in the past.")
        if data.get("when") == LOCALLY and not data.get("morning") and "morning" not in self.errors:
            self.add_error("morning", "Name the time.")
        if data.get("audience") and data.get("rows"):
            self.add_error("audience", "Give recipients or an audience, not both.")
        elif not data.get("audience") and not data.get("rows") and "rows" not in self.errors:
            self.add_error("rows", "Name the recipients or an audience.")
        if self.errors:
            return data
        self.version = TemplateVersion.objects.select_related("template").get(pk=data["template"])
        if data["audience"]:
            self._to_audience(data["audience"])
            return data
        try:
            self.read = _rows(data["rows"], self.version)
        except Problem as problem:
            self.add_error("rows", str(problem))
        return data

    def _to_audience(self, audience: Audience) -> None:
        fills = {name: f"attributes.{name}" for name in self.version.required}
        try:
            self.wanted = audiences.check(audience.name, self.common, fills, LIVE)
            sample = audiences.sample(audience, self.common, fills, LOOKED_AT)
        except InvalidNotification as error:
            self.add_error("audience", str(error))
            return
        except saved.FilterTooSlow as error:
            self.add_error("audience", why_too_slow(error))
            return
        columns = [(name, "attribute of the recipient") for name in fills]
        self.read = Rows(sample, (), columns)

    def outlook(self) -> campaigns.Outlook | None:
        """Say what would become of it; None where its audience cannot be counted."""
        outlook = campaigns.outlook(self.read.items, self.common, self.read.lines)
        if (audience := self.cleaned_data["audience"]) is not None:
            try:
                outlook.matched = saved.count(audience.filter, audience.world)
            except saved.FilterTooSlow as error:
                self.add_error("audience", why_too_slow(error))
                return None
        return outlook

    @property
    def common(self) -> dict[str, Any]:
        """What all rows share."""
        data = self.cleaned_data
        template = self.version.template
        given = {
            "channel": template.channel,
            "template": template.name,
            "priority": data["priority"],
        }
        if data["when"] == LOCALLY:
            return given | {"local_time": f"{data['morning']:%H:%M}"}
        return given | ({"eta": data["at"].isoformat()} if data["when"] == LATER else {})


@admin.site.admin_view
def page(request: HttpRequest) -> HttpResponse:
    """Ask what to send; by POST say what would become of it, or send it."""
    if not request.user.has_perm("notifications.add_notification"):
        raise PermissionDenied
    form = SendForm(request.POST or None, initial={"key": uuid4().hex})
    outlook = None
    if form.is_valid():
        if "send" not in request.POST:
            outlook = form.outlook()
        elif (sent := _send(request, form)) is not None:
            return sent
    context = {
        **admin.site.each_context(request),
        "title": "Send",
        "form": form,
        "outlook": outlook,
        "channel": form.version.template.channel if outlook else "",
        "columns": form.read.columns if outlook else (),
        "templates": {str(version.pk): ["recipient", *version.required] for version in _live()},
    }
    return TemplateResponse(request, "notifications/admin/send.html", context)


@admin.site.admin_view
def sheet(request: HttpRequest) -> JsonResponse:
    """Return the first sheet of a workbook as a CSV, or what is wrong with the file."""
    if not request.user.has_perm("notifications.add_notification"):
        raise PermissionDenied
    file = request.FILES.get("file")
    if file is None or (file.size or 0) > workbook.MOST_BYTES:
        problem = f"Choose a file of at most {workbook.MOST_BYTES:,} bytes."
        return JsonResponse({"rows": "", "problem": problem})
    try:
        rows = workbook.csv_of(file.read(), MOST_ROWS)
    except UnreadableFile as error:
        return JsonResponse({"rows": "", "problem": str(error)})
    return JsonResponse({"rows": rows, "problem": ""})


def _send(request: HttpRequest, form: SendForm) -> HttpResponse | None:
    """Send it, once for each key of a form; lead to the batch. None where the form has an error."""
    rows, common, audience = form.read, form.common, form.cleaned_data["audience"]
    content = form.wanted.content if audience else repeats.content_hash(rows.items, common)
    name = form.cleaned_data["name"] or f"{form.version.template.name} by {request.user}"
    try:
        with transaction.atomic():  # a batch whose audience cannot be read is not begun
            batch, _ = repeats.of_key(f"admin:{form.cleaned_data['key']}", content, name=name)
            if audience:
                form.wanted.begin(batch)
    except IdempotencyConflict:
        messages.error(request, "This form was sent before, with other rows. Begin anew.")
        return redirect("send")
    except saved.FilterTooSlow as error:
        form.add_error("audience", why_too_slow(error))
        return None
    if audience:
        said = f"{batch.expansion.matched} recipients: their notifications follow"
    else:
        sent = submission.send_many(rows.items, batch=batch, lines=rows.lines, **common)
        said = f"Accepted {sent.accepted}" + (f", refused {sent.refused}" if sent.refused else "")
    messages.success(request, f"{said}.")
    return redirect(reverse("admin:notifications_batch_change", args=[batch.pk]))


def _live() -> Sequence[TemplateVersion]:
    """Return what is published in the default project, by name."""
    rows = TemplateVersion.objects.filter(status=Status.PUBLISHED, template__namespace="")
    light = rows.select_related("template").only("required", "template__name", "template__channel")
    return list(light.order_by("template__name"))


def _rows(text: str, version: TemplateVersion) -> Rows:
    """Read the CSV. Raises ``Problem``."""
    read = rows_of_csv(text.encode(), FIELDS)
    if len(read.lines) > MOST_ROWS:
        hint = f"More than {MOST_ROWS:,} rows: send them by POST /api/v1/notifications/batch."
        raise Problem("body-too-large", hint)
    items = list(read.items())
    return Rows(items, read.lines, _columns(items, version))


def _columns(items: Sequence[Item], version: TemplateVersion) -> list[tuple[str, str]]:
    """Say what each column of the first readable row is taken for."""
    first = next((item for item in items if not callable(item)), {})
    fields = [(name, "field") for name in first if name != "context"]
    needed = set(version.required)
    context = dict(first.get("context") or {})
    source = json.dumps(version.compiled, ensure_ascii=False)
    variables = [(name, _use(name, needed, source)) for name in context]
    missing = [(name, "missing") for name in sorted(needed - context.keys())]
    return [*fields, *variables, *missing]


def _use(name: str, needed: Collection[str], source: str) -> str:
    if name in needed:
        return "variable"
    if name in re.findall(r"\w+", source):
        return "optional variable of the template"
    return "not in the template; check the spelling"
