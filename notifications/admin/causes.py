"""The pages of failed deliveries by cause: the list, and replay or discard of one cause."""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextInputWidget

from notifications.admin import charts
from notifications.admin.base import answer, who
from notifications.delivery import failed_deliveries
from notifications.models import BulkReplay
from notifications.operations import bulk_replays
from notifications.operations.causes import Cause, causes, dry_run


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
        "causes": [(cause, charts.bars(cause.hourly)) for cause in causes()],
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
        "forecast": form.is_valid()
        and bulk_replays.forecast(cause.count, form.cleaned_data["per_second"]),
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
        count = failed_deliveries.discard(
            bulk_replays.open_ones(fingerprint), why=why, by=who(request)
        )
        model_admin.log_change(request, cause.example, f"Discarded {count} of its cause: {why}")
        return answer(request, _overview(), f"Discarded {count}.")
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Discard failed deliveries",
        "cause": cause,
        "form": form,
    }
    return TemplateResponse(request, "notifications/admin/discard.html", context)


def _the(fingerprint: str) -> Cause | None:
    found = causes(fingerprint)
    return found[0] if found else None


def _overview() -> str:
    return reverse("admin:notifications_faileddelivery_causes")
