"""The causes of failed deliveries: open ones that failed alike, counted, and how they grow."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from django.db.models import Count, Max, Min
from django.db.models.functions import TruncHour

from notifications.core.masking import without_addresses
from notifications.core.world import World
from notifications.db import clock
from notifications.models import FailedDelivery, Scope, Status, Suppression
from notifications.models.project import within
from notifications.operations import bulk_replays, holds, replays
from notifications.providers import accounts, health
from notifications.submission import building
from notifications.submission.building import Asked

MOST = 50  # causes, the biggest
TRIED = 1000  # failed deliveries that a dry run submits without writing
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
    def span(self) -> timedelta:
        """How long it went on."""
        return self.last_at - self.first_at

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


@dataclass(slots=True)
class DryRun:
    """What a replay of a cause would come to, of the ``looked_at`` oldest of it.

    ``refused`` counts by what is wrong, ``suppressed`` by why; ``accounts`` says which of the
    channel's accounts could not send now.
    """

    looked_at: int = 0
    accepted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    suppressed: dict[str, int] = field(default_factory=dict)
    accounts: list[str] = field(default_factory=list)


def dry_run(fingerprint: str) -> DryRun:
    """Submit the first of a cause without writing, and count what would become of them.

    So whether the template is published, the context fits, the expiry has passed and an account
    is there is asked as a replay would ask it.
    """
    ids = bulk_replays.open_ones(fingerprint).order_by("id").values_list("id", flat=True)
    letters, unread = replays.read(list(ids[:TRIED]))
    found = DryRun(looked_at=len(letters) + len(unread))
    refused, suppressed, channels = Counter[str](), Counter[str](), set[str]()
    if unread:
        refused["It cannot be read."] = len(unread)
    for answer in building.try_many([Asked(partial(letter.fields, 0)) for letter in letters]):
        if answer.error is not None:
            refused[without_addresses(str(answer.error))] += 1
        elif answer.row["status"] == Status.SUPPRESSED:
            suppressed[Suppression.Reason(answer.row["reason"]).label] += 1
        else:
            found.accepted += 1
            channels.add(answer.row["channel"])
    found.refused, found.suppressed = dict(refused), dict(suppressed)
    for channel in sorted(channels):
        found.accounts += _unready(channel)
    return found


def _unready(channel: str) -> list[str]:
    """Say which accounts of a channel could not send now, and why."""
    candidates = accounts.candidates(channel)
    known = health.healths([candidate.name for candidate in candidates])
    held = set(holds.in_force().filter(scope=Scope.ACCOUNT).values_list("value", flat=True))
    said = []
    for candidate in candidates:
        if candidate.problem:
            said.append(f"{candidate.name}: {candidate.problem}")
        elif candidate.name in held:
            said.append(f"{candidate.name} is held")
        elif known[candidate.name].open_until:
            said.append(f"{candidate.name} failed again and again: its circuit is open")
    return said
