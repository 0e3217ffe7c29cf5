"""The admin's first page: what happens now, renewed every few seconds by htmx."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.db.models import F
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.timezone import localtime

from notifications.admin import live_stream
from notifications.admin.charts import Bar, stacked
from notifications.core.routing import PRIORITIES
from notifications.db import clock
from notifications.models import ApiKey, Notification, ProviderAccount
from notifications.monitoring import overview, throughput
from notifications.monitoring.overview import Queue
from notifications.monitoring.throughput import Counts
from scheduling.models import Fire
from templates_engine.models import ASKED, Template, TemplateVersion

LAST_FIRES = 8
LIVE = "notifications/admin/live.html"
TEMPLATE = "admin:templates_engine_template_add"
ACCOUNT = "admin:notifications_provideraccount_add"
KEY = "admin:notifications_apikey_add"
PUBLISH = "templates_engine.publish_templateversion"
WITHOUT_ACCOUNT = "through which it is sent; the built-in outbox needs none"


@dataclass(frozen=True, slots=True)
class Step:
    """A step towards a first send. ``where`` is empty for who may not take it."""

    title: str
    where: str
    done: bool
    why: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What happened per minute or hour, stacked by priority."""

    title: str
    total: int
    highest: int
    bars: list[Bar]
    begins: datetime
    ends: datetime
    where: str


@dataclass(slots=True)
class Line:
    """A queue's line in the table: its state now, and its sums over the charts' time."""

    queue: Queue
    accepted: int = 0
    sent: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """How far back the charts go, and what one of their bars is."""

    words: str
    per: str
    read: Callable[[], list[Counts]]


SPANS = {
    "hour": Span("the last hour", "minute", partial(throughput.last, 60)),
    "day": Span("the last day", "hour", partial(throughput.last_hours, 24)),
    "week": Span("the last week", "hour", partial(throughput.last_hours, 7 * 24)),
}


def first_page(request: HttpRequest) -> dict[str, Any]:
    """Return what the first page shows."""
    return {"title": "Dashboard"} | _dashboard_context(request)


@staff_member_required
def live(request: HttpRequest) -> HttpResponse:
    """Return the part of the page that is renewed."""
    return TemplateResponse(request, LIVE, _dashboard_context(request))


@staff_member_required
def stream(request: HttpRequest) -> HttpResponseBase:
    """Return that part again and again, by server-sent events; 503 if too many look already."""
    began = live_stream.begin(lambda: render_to_string(LIVE, _dashboard_context(request), request))
    if began is None:
        return HttpResponse("Poll instead.", status=503, content_type="text/plain")
    # Nginx would keep the events back.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(began, content_type="text/event-stream", headers=headers)


def _dashboard_context(request: HttpRequest) -> dict[str, Any]:
    span = request.GET.get("span", "")
    span = span if span in SPANS else "hour"
    now, minutes = overview.read(), SPANS[span].read()
    busy = sum(queue.busy for queue in now.queues)
    return {
        "now": now,
        "charts": [
            _chart("Accepted", minutes, "accepted", f"?within={span}"),
            _chart("Sent", minutes, "sent", f"?within={span}&status=sent"),
            _chart("Failed", minutes, "failed", f"?within={span}&status=failed"),
        ],
        "minutes": len(minutes),
        "span": span,
        "spans": SPANS,
        "per": SPANS[span].per,
        "lines": [line for queue in now.queues if (line := _line(queue, minutes))],
        "busy": busy,
        "fires": _last_fires() if request.user.has_perm("scheduling.view_fire") else [],
        "flower_url": settings.FLOWER_URL,
        "asked": TemplateVersion.objects.filter(ASKED).count()
        if request.user.has_perm(PUBLISH)
        else 0,
        "is_new": _first_steps(request),
    }


def _first_steps(request: HttpRequest) -> list[Step]:
    """Return what leads to a first send, while nothing was ever accepted."""
    if Notification.objects.exists():
        return []
    user = request.user
    has_accounts = ProviderAccount.objects.exists()
    steps = [
        ("Write a template", "add_template", TEMPLATE, Template.objects.exists(), "what is sent"),
        ("Add a provider account", "add_provideraccount", ACCOUNT, has_accounts, WITHOUT_ACCOUNT),
        (
            "Send a first notification",
            "add_notification",
            "send",
            False,
            "to yourself",
        ),
        ("Make an API key", "add_apikey", KEY, ApiKey.objects.exists(), "for your application"),
    ]
    apps = {"add_template": "templates_engine"}
    return [
        Step(
            title,
            reverse(page) if user.has_perm(f"{apps.get(needs, 'notifications')}.{needs}") else "",
            done,
            why,
        )
        for title, needs, page, done, why in steps
    ]


def _chart(title: str, minutes: list[Counts], kind: str, query: str) -> Chart:
    counts: list[dict[throughput.Queue, int]] = [getattr(minute, kind) for minute in minutes]
    columns: list[dict[str, float]] = [
        {
            priority: sum(count for (_, of), count in minute.items() if of == priority)
            for priority in PRIORITIES
        }
        for minute in counts
    ]
    sums = [int(sum(column.values())) for column in columns]
    drawn = [
        replace(
            bar, told=f"{localtime(minutes[bar.x].start):%a %H:%M %Z}: {bar.value:.0f} {bar.kind}"
        )
        for bar in stacked(columns)
    ]
    where = reverse("admin:notifications_notification_changelist") + query
    times = (minutes[0].start, minutes[-1].start)
    return Chart(title, sum(sums), max(sums, default=0), drawn, *times, where)


def _line(queue: Queue, minutes: list[Counts]) -> Line | None:
    """Return a queue's line, if it has anything to show."""
    name = (queue.channel, queue.priority)
    line = Line(
        queue,
        accepted=sum(minute.accepted.get(name, 0) for minute in minutes),
        sent=sum(minute.sent.get(name, 0) for minute in minutes),
        failed=sum(minute.failed.get(name, 0) for minute in minutes),
    )
    return line if line.accepted or line.sent or line.failed or not queue.is_idle else None


def _last_fires() -> list[Fire]:
    return list(
        Fire.objects.filter(scheduled_for__lte=clock.now())
        .annotate(name=F("schedule__periodic_task__name"))
        .order_by("-scheduled_for")[:LAST_FIRES]
    )
