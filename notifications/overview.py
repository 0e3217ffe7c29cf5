"""The whole system at a glance: for the dashboard and ``manage.py status``."""

from dataclasses import dataclass, field
from datetime import datetime

from notifications import (
    accounts,
    allocation,
    backlog,
    bulk_replays,
    clock,
    doorbell,
    health,
    routing,
)
from notifications.allocation import Allocation, Source
from notifications.metrics import exposition
from notifications.metrics.state import MOST
from scheduling import status as scheduler_status

UNKNOWN = Allocation(weight=0.0, source=Source.SETTINGS)


@dataclass(slots=True)
class Queue:
    """One queue: ``oldest`` is in seconds, ``busy`` counts slots of workers beside this process."""

    channel: str
    priority: str
    due: int = 0
    oldest: float = 0.0
    on_broker: int = 0
    busy: int = 0
    allocation: Allocation = UNKNOWN

    @property
    def name(self) -> str:
        return routing.queue_for(self.channel, self.priority)

    @property
    def is_idle(self) -> bool:
        return not (self.due or self.on_broker or self.busy or self.allocation.share)


@dataclass(slots=True)
class Provider:
    """An account with what was seen of it over the last minute; ``state`` is for people."""

    channel: str
    name: str
    good: int
    bad: int
    pace: float
    state: str


@dataclass(slots=True)
class Overview:
    """What a person on call looks at first."""

    at: datetime
    queues: list[Queue]
    broker_up: bool
    dead_letters: int
    scheduler: scheduler_status.Status
    providers: list[Provider] = field(default_factory=list)

    @property
    def due(self) -> int:
        return sum(queue.due for queue in self.queues)

    @property
    def oldest(self) -> float:
        return max((queue.oldest for queue in self.queues), default=0.0)

    @property
    def troubles(self) -> list[str]:
        """What somebody should see to, the most urgent first."""
        found = []
        if not self.broker_up:
            found.append("The broker does not answer: what is accepted waits.")
        if not self.scheduler.live_schedulers:
            found.append("No scheduler is alive: nothing scheduled or retried goes out.")
        if self.oldest > LATE:
            found.append(f"The oldest due notification waits for {self.oldest:.0f} s.")
        unwell = [p for p in self.providers if p.state != "ready"]
        found += [f"Provider {p.name}: {p.state.rstrip('.')}." for p in unwell]
        if self.dead_letters:
            found.append(f"{_many(self.dead_letters)} failed deliveries are open.")
        if self.scheduler.quarantined:
            found.append(f"Schedules set aside as broken: {self.scheduler.quarantined}.")
        return found


LATE = 60.0  # seconds that a due row may wait before somebody should know


def read() -> Overview:
    """Read all of it; costs index probes, however much there is. Raises ``django.db.Error``."""
    waiting = backlog.look(MOST)
    queues = {(w.channel, w.priority): Queue(w.channel, w.priority, w.due) for w in waiting}
    late = [name for name, queue in queues.items() if queue.due]
    for name, age in backlog.oldest(late).items():
        queues[name].oldest = age
    for name, busy in busy_slots().items():
        if name in queues:
            queues[name].busy = busy
    allocated = allocation.read()
    for queue in queues.values():
        queue.allocation = allocated[queue.name]
    return Overview(
        at=clock.now(),
        queues=list(queues.values()),
        broker_up=_ask_the_broker(queues),
        dead_letters=bulk_replays.open_ones().order_by()[:MOST].count(),
        scheduler=scheduler_status.read(),
        providers=_providers(),
    )


def busy_slots() -> dict[tuple[str, str], int]:
    """Count the worker slots that deliver now, by queue, of the workers with this VAR_DIR."""
    busy: dict[tuple[str, str], int] = {}
    for family in exposition.ProcessesCollector().collect():
        if family.name == "notifications_slots_busy":
            for sample in family.samples:
                name = (sample.labels["channel"], sample.labels["priority"])
                busy[name] = busy.get(name, 0) + int(sample.value)
    return busy


def _ask_the_broker(queues: dict[tuple[str, str], Queue]) -> bool:
    try:
        depths = doorbell.depths(queue.name for queue in queues.values())
    except doorbell.BrokerAway:
        return False
    for queue in queues.values():
        queue.on_broker = depths[queue.name]
    return True


def _providers() -> list[Provider]:
    found = []
    for channel in routing.CHANNELS:
        candidates = accounts.candidates(channel)
        known = health.healths([candidate.name for candidate in candidates])
        for candidate in candidates:
            seen = known[candidate.name]
            state = candidate.problem or ("rests after failures" if seen.resting_until else "ready")
            found.append(Provider(channel, candidate.name, seen.good, seen.bad, seen.pace, state))
    return found


def _many(count: int) -> str:
    return f"{MOST} or more" if count >= MOST else str(count)
