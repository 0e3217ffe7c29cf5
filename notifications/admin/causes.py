"""Failed deliveries by cause: what there is, how it grows, and the two ways to deal with it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max, Min
from django.db.models.functions import TruncHour
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextInputWidget

from notifications import bulk_replays, clock, dead_letters
from notifications.admin import charts
from notifications.admin.base import answer, who
from notifications.models import BulkReplay, FailedDelivery

MOST = 50  # causes on the page, the biggest
HOURS = 24


@dataclass(slots=True)
class Cause:
    """One cause with its open dead letters; ``example`` is the newest of them."""

    fingerprint: str
    count: int
    first_at: datetime
    last_at: datetime
    example: FailedDelivery
    hourly: list[int] = field(default_factory=lambda: [0] * HOURS)

    @property
    def trend(self) -> list[charts.Bar]:
        return charts.bars(self.hourly)


def causes(fingerprint: str = "") -> list[Cause]:
    """Group the open dead letters, the biggest group first."""
    groups = (
        bulk_replays.open_ones(fingerprint)
        .order_by()
        .values("fingerprint")
        .annotate(count=Count("id"), first=Min("created_at"), last=Max("created_at"), one=Max("id"))
        .order_by("-count")[:MOST]
    )
    found = {row["fingerprint"]: row for row in groups}
    examples = FailedDelivery.objects.in_bulk([row["one"] for row in found.values()])
    grouped = {
        name: Cause(name, row["count"], row["first"], row["last"], examples[row["one"]])
        for name, row in found.items()
        if row["one"] in examples  # else: seen to since
    }
    _add_trends(grouped)
    return list(grouped.values())


def _add_trends(grouped: dict[str, Cause]) -> None:
    this_hour = clock.now().replace(minute=0, second=0, microsecond=0)
    since = this_hour - timedelta(hours=HOURS - 1)
    hours = (
        FailedDelivery.objects.filter(fingerprint__in=grouped, created_at__gte=since)
        .order_by()
        .values("fingerprint", hour=TruncHour("created_at"))
        .annotate(count=Count("id"))
    )
    for row in hours:
        place = int((row["hour"] - since).total_seconds() // 3600)
        if 0 <= place < HOURS:
            grouped[row["fingerprint"]].hourly[place] = row["count"]


class ReplayForm(forms.Form):
    """How fast to replay; at first only told what would happen."""

    per_second = forms.FloatField(
        label="How many per second",
        min_value=0.01,
        max_value=bulk_replays.FASTEST,
        initial=10,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="Slow enough for a provider that has just recovered.",
    )


class DiscardForm(forms.Form):
    """Why they need not be delivered any more."""

    reason = forms.CharField(max_length=255, widget=UnfoldAdminTextInputWidget)


def overview(request: HttpRequest, model_admin: Any) -> HttpResponse:
    """Show the causes and the replays under way."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    orders = list(BulkReplay.objects.select_related("asked_by").order_by("-id")[:5])
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Failed deliveries by cause",
        "causes": causes(),
        "may_replay": model_admin.has_replay_permission(request),
        "may_discard": model_admin.has_discard_permission(request),
        "replays": orders,
        "is_replaying": any(order.finished_at is None for order in orders),
    }
    return TemplateResponse(request, "notifications/admin/causes.html", context)


def replay(request: HttpRequest, model_admin: Any, fingerprint: str) -> HttpResponse:
    """Tell what a replay would do (dry run), then do it."""
    if not model_admin.has_replay_permission(request):
        raise PermissionDenied
    cause = _the(fingerprint)
    form = ReplayForm(request.POST or None)
    if cause is None:
        return answer(request, _overview(), "There is nothing open of this cause.", failed=True)
    if form.is_valid() and "go" in request.POST:
        order = bulk_replays.order(fingerprint, form.cleaned_data["per_second"], by=who(request))
        model_admin.log_change(
            request, cause.example, f"Replay of {order.total} of its cause, {order.per_second:g}/s."
        )
        return answer(request, _overview(), f"Replaying {order.total}: see the progress below.")
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Replay failed deliveries",
        "cause": cause,
        "form": form,
        "minutes": form.is_valid() and cause.count / form.cleaned_data["per_second"] / 60,
        "refused": dry_run(fingerprint) if form.is_valid() else None,
    }
    return TemplateResponse(request, "notifications/admin/replay.html", context)


def discard(request: HttpRequest, model_admin: Any, fingerprint: str) -> HttpResponse:
    """Close all open dead letters of a cause, with the reason."""
    if not model_admin.has_discard_permission(request):
        raise PermissionDenied
    cause = _the(fingerprint)
    form = DiscardForm(request.POST or None)
    if cause is None:
        return answer(request, _overview(), "There is nothing open of this cause.", failed=True)
    if form.is_valid():
        why = form.cleaned_data["reason"]
        count = dead_letters.discard(bulk_replays.open_ones(fingerprint), why=why, by=who(request))
        model_admin.log_change(request, cause.example, f"Discarded {count} of its cause: {why}")
        return answer(request, _overview(), f"Discarded {count}.")
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Discard failed deliveries",
        "cause": cause,
        "form": form,
    }
    return TemplateResponse(request, "notifications/admin/discard.html", context)


def dry_run(fingerprint: str) -> int:
    """Count those that a replay would refuse, for they are past their expiry."""
    return (
        bulk_replays.open_ones(fingerprint)
        .filter(notification__expires_at__lte=clock.now())
        .count()
    )


def _the(fingerprint: str) -> Cause | None:
    found = causes(fingerprint)
    return found[0] if found else None


def _overview() -> str:
    return reverse("admin:notifications_faileddelivery_causes")
