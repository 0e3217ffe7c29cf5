"""The admin's first page: what happens now, renewed every few seconds by htmx."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from notifications.admin.charts import Bar, stacked
from notifications.core.routing import PRIORITIES
from notifications.db import clock
from notifications.monitoring import overview, throughput
from notifications.monitoring.overview import Queue
from notifications.monitoring.throughput import Minute
from scheduling.models import Fire

LAST_FIRES = 8


@dataclass(frozen=True, slots=True)
class Chart:
    """What happened per minute, stacked by priority."""

    title: str
    total: int
    highest: int
    bars: list[Bar]


@dataclass(slots=True)
class Line:
    """A queue's line in the table: its state now, and its sums over the charts' time."""

    queue: Queue
    accepted: int = 0
    sent: int = 0
    failed: int = 0


def first_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add what the first page shows; unfold calls it."""
    return context | {"title": "Dashboard"} | _shown(request)


@staff_member_required
def live(request: HttpRequest) -> HttpResponse:
    """Return the part of the page that is renewed."""
    return TemplateResponse(request, "notifications/admin/live.html", _shown(request))


def _shown(request: HttpRequest) -> dict[str, Any]:
    now, minutes = overview.read(), throughput.last()
    busy = sum(queue.busy for queue in now.queues)
    return {
        "now": now,
        "charts": [
            _chart("Accepted", [minute.accepted for minute in minutes]),
            _chart("Sent", [minute.sent for minute in minutes]),
            _chart("Failed", [minute.failed for minute in minutes]),
        ],
        "minutes": len(minutes),
        "lines": [line for queue in now.queues if (line := _line(queue, minutes))],
        "busy": busy,
        "fires": _last_fires() if request.user.has_perm("scheduling.view_fire") else [],
        "flower_url": settings.FLOWER_URL,
    }


def _chart(title: str, counts: list[dict[throughput.Queue, int]]) -> Chart:
    columns: list[dict[str, float]] = [
        {
            priority: sum(count for (_, of), count in minute.items() if of == priority)
            for priority in PRIORITIES
        }
        for minute in counts
    ]
    sums = [int(sum(column.values())) for column in columns]
    return Chart(title, sum(sums), max(sums, default=0), stacked(columns))


def _line(queue: Queue, minutes: list[Minute]) -> Line | None:
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
