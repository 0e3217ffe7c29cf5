"""The causes of failed deliveries: open ones that failed alike, counted, and how they grow."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, Max, Min
from django.db.models.functions import TruncHour

from notifications.core.masking import without_addresses
from notifications.core.world import World
from notifications.db import clock
from notifications.models import FailedDelivery
from notifications.models.project import within
from notifications.operations import bulk_replays

MOST = 50  # causes, the biggest
HOURS = 24


@dataclass(slots=True)
class Cause:
    """One cause with its open failed deliveries.

    ``example`` is the newest of them; ``hourly`` counts those of the last ``HOURS`` hours, the
    present hour last.
    """

    fingerprint: str
    count: int
    first_at: datetime
    last_at: datetime
    example: FailedDelivery
    hourly: list[int] = field(default_factory=lambda: [0] * HOURS)

    @property
    def said(self) -> str:
        """The provider's words of the example, without addresses."""
        return without_addresses(self.example.detail)


def causes(fingerprint: str = "", world: World | None = None) -> list[Cause]:
    """Group the open dead letters, of a world or of all, the biggest group first."""
    groups = (
        bulk_replays.open_ones(fingerprint, world)
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
    _add_trends(grouped, world)
    return list(grouped.values())


def _add_trends(grouped: dict[str, Cause], world: World | None) -> None:
    this_hour = clock.now().replace(minute=0, second=0, microsecond=0)
    since = this_hour - timedelta(hours=HOURS - 1)
    hours = (
        within(FailedDelivery.objects.all(), world)
        .filter(fingerprint__in=grouped, created_at__gte=since)
        .order_by()
        .values("fingerprint", hour=TruncHour("created_at"))
        .annotate(count=Count("id"))
    )
    for row in hours:
        place = int((row["hour"] - since).total_seconds() // 3600)
        if 0 <= place < HOURS:
            grouped[row["fingerprint"]].hourly[place] = row["count"]


def dry_run(fingerprint: str) -> int:
    """Count failed deliveries that a replay would refuse because they have expired."""
    return (
        bulk_replays.open_ones(fingerprint)
        .filter(notification__expires_at__lte=clock.now())
        .count()
    )
