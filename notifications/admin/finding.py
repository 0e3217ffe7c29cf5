"""One box that finds what somebody asks about: a recipient, an id, a reference, a provider's id."""

import contextlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from notifications.admin import disclosure, search
from notifications.core.masking import mask
from notifications.models import ArchivedNotification, Batch, Notification, Suppression
from notifications.recipients import spellings
from templates_engine.models import Template

SHOWN = 20  # of a kind
LONGEST = 2000  # characters


@dataclass(frozen=True, slots=True)
class Found:
    """A line of the answer: where it leads, and what it says."""

    where: str
    title: str
    detail: str


@admin.site.admin_view
def page(request: HttpRequest) -> HttpResponse:
    """Show what the text finds; a single notification is shown at once."""
    if not request.user.has_perm("notifications.view_notification"):
        raise PermissionDenied
    term = request.GET.get("q", "").strip()[:LONGEST]
    groups = _matches_by_kind(term, opened=disclosure.may_see(request))
    lines = [line for group in groups.values() for line in group]
    if len(lines) == 1:
        return redirect(lines[0].where)
    everywhere = admin.site.each_context(request)
    context = {**everywhere, "title": "Find", "term": term, "groups": groups, "found": len(lines)}
    return TemplateResponse(request, "notifications/admin/find.html", context)


def _matches_by_kind(term: str, *, opened: bool) -> dict[str, list[Found]]:
    if not term:
        return {}
    groups = {
        "Notifications": _notifications(Notification, term, opened=opened),
        "Archive": _notifications(ArchivedNotification, term, opened=opened),
        "Suppressions": _suppressions(term, opened=opened),
        "Batches": _batches(term),
        "Templates": _templates(term),
    }
    return {title: lines for title, lines in groups.items() if lines}


def _notifications(model: Any, term: str, *, opened: bool) -> list[Found]:
    ids = search.find(model.objects.all(), term, parts=opened)
    rows = model.objects.filter(id__in=ids).order_by("-id")[:SHOWN]
    return [
        Found(
            reverse(f"admin:notifications_{model._meta.model_name}_change", args=[row.pk]),
            f"{row.channel} to {row.recipient if opened else mask(row.recipient)}",
            " · ".join(
                filter(None, (row.status, row.reason, row.reference, f"{row.created_at:%F %T} UTC"))
            ),
        )
        for row in rows
    ]


def _suppressions(term: str, *, opened: bool) -> list[Found]:
    rows = Suppression.objects.filter(recipient__in=spellings.of(term), lifted_at__isnull=True)
    return [
        Found(
            reverse("admin:notifications_suppression_change", args=[row.pk]),
            f"{row.channel}: {row.recipient if opened else mask(row.recipient)}",
            f"{row.reason} · nothing is sent there since {row.created_at:%F %T} UTC",
        )
        for row in rows[:SHOWN]
    ]


def _batches(term: str) -> list[Found]:
    wanted = Q(name=term)
    with contextlib.suppress(ValueError):  # a name alone
        wanted |= Q(pk=UUID(term))
    return [
        Found(
            reverse("admin:notifications_batch_change", args=[row.pk]),
            str(row),
            f"{row.state} · {row.accepted} accepted, {row.refused} refused",
        )
        for row in Batch.objects.filter(wanted).order_by("-created_at")[:SHOWN]
    ]


def _templates(term: str) -> list[Found]:
    rows = Template.objects.exclude(namespace__endswith=":test").filter(name=term)
    return [
        Found(
            reverse("admin:templates_engine_template_change", args=[row.pk]), str(row), row.channel
        )
        for row in rows[:SHOWN]
    ]
