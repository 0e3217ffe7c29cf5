"""The whole system at a glance: for the dashboard and ``manage.py status``."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Max, Min, QuerySet

from notifications.core import routing
from notifications.db import clock
from notifications.models import Hold, QuarantinedRow
from notifications.models.quarantined_row import Quarantined
from notifications.monitoring import exposition, servers, waiting
from notifications.monitoring.state import MOST
from notifications.operations import bulk_replays, holds
from notifications.providers import accounts, health
from notifications.queueing import allocation, backlog, publisher
from notifications.queueing.allocation import Allocation, Source
from scheduling import isolation, liveness, workers
from scheduling import status as scheduler_status
from scheduling.models import WorkerProcess
from scheduling.outages import Outage

READY = "ready"
CIRCUIT_OPEN = "circuit open after failures"
UNKNOWN = Allocation(weight=0.0, source=Source.SETTINGS)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What somebody should see to, and since when it is so, where that is known."""

    text: str
    since: datetime | None = None


@dataclass(slots=True)
class Queue:
    """One queue.

    ``due`` rows wait for a worker, ``held`` ones for the end of a hold of the queue, ``retrying``
    for their next attempt, ``blocked`` for an account, an endpoint or a limit. ``oldest`` is in
    seconds: for how long the one that waits longest was to be sent. ``busy`` counts slots of
    workers beside this process, and ``workers`` all living workers that consume it.
    """

    channel: str
    priority: str
    due: int = 0
    retrying: int = 0
    blocked: int = 0
    held: int = 0
    oldest: float = 0.0
    on_broker: int = 0
    busy: int = 0
    workers: int = 0
    allocation: Allocation = UNKNOWN

    @property
    def name(self) -> str:
        """The queue's name: ``<channel>.<priority>``."""
        return routing.queue_for(self.channel, self.priority)

    @property
    def is_unserved(self) -> bool:
        """Whether it has work and no worker for it."""
        return not self.workers and bool(self.due or self.on_broker)

    @property
    def is_idle(self) -> bool:
        """Whether it has neither work nor a share of the slots."""
        waits = self.due or self.retrying or self.blocked or self.held
        return not (waits or self.on_broker or self.busy or self.allocation.share)


@dataclass(slots=True)
class Provider:
    """An account with what was seen of it over the last minute; ``state`` is for people.

    ``last_error`` is what it said when it failed last, if it fails.
    """

    channel: str
    name: str
    good: int
    bad: int
    pace: float
    state: str
    last_error: str = ""
    failing_since: datetime | None = None
    """When the first of its failures in a row was reported, while they go on."""

    @property
    def trouble(self) -> str:
        """What somebody should see to; empty while it is ready."""
        if self.state == READY:
            return ""
        why = f"; the last: {self.last_error}" if self.last_error else ""
        return f"The account {self.name} ({self.channel}): {self.state}{why}".rstrip(".") + "."


@dataclass(frozen=True, slots=True)
class Worker:
    """A living worker, with the queues that it consumes and how many tasks it runs at once."""

    name: str
    queues: list[str]
    slots: int


@dataclass(slots=True)
class Overview:
    """What a person on call looks at first."""

    at: datetime
    queues: list[Queue]
    broker_up: bool
    refusal: str
    """Why the database takes no write, or nothing."""
    broker_refusal: str
    """Why the broker takes no message, or nothing."""
    dead_letters: int
    scheduler: scheduler_status.Status
    dead_letters_since: datetime | None = None
    """When the oldest of the open failed deliveries was made, of those that were counted."""
    providers: list[Provider] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    last_worker_seen_at: datetime | None = None
    """When the worker that was alive last was seen, if none is alive."""
    are_workers_unknown: bool = False
    """Whether none was seen, and somebody keeps the rows of their announcements locked."""
    jobs_on_broker: int = 0
    quarantined: list[Quarantined] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    stranded: list[Trouble] = field(default_factory=list)
    """What waits for an account that is disabled, and that it names."""

    @property
    def open_letters(self) -> str:
        """How many failed deliveries are open, or that they are too many to count at each look."""
        most = self.dead_letters >= MOST_LETTERS
        return f"{self.dead_letters:,} or more" if most else f"{self.dead_letters:,}"

    @property
    def due(self) -> int:
        """How many rows are due, over all queues."""
        return sum(queue.due for queue in self.queues)

    @property
    def retrying(self) -> int:
        """How many rows wait for a retry."""
        return sum(queue.retrying for queue in self.queues)

    @property
    def blocked(self) -> int:
        """How many rows wait for a provider, a limit or a hold."""
        return sum(queue.blocked for queue in self.queues)

    @property
    def oldest(self) -> float:
        """The age in seconds of the row that has been due longest."""
        return max((queue.oldest for queue in self.queues), default=0.0)

    @property
    def unserved(self) -> list[str]:
        """The queues that have work and no worker, while there are workers and a broker."""
        if not (self.workers and self.broker_up):
            return []
        queues = [queue.name for queue in self.queues if queue.is_unserved]
        jobs = routing.JOBS_QUEUE
        if self.jobs_on_broker and not any(jobs in worker.queues for worker in self.workers):
            queues.append(jobs)
        return queues

    @property
    def waiting_since(self) -> datetime | None:
        """When the row that waits longest was to be sent; ``None`` if none waits."""
        return self._since(self.oldest)

    @property
    def troubles(self) -> list[str]:
        """What somebody should see to, the most urgent first."""
        return [trouble.text for trouble in self.dated_troubles]

    @property
    def dated_troubles(self) -> list[Trouble]:
        """The same, each with the time since when it is so."""
        return [
            *self._troubles_of_processes(),
            *self._troubles_of_delivery(),
            *_troubles_of_schedules(self.scheduler),
            *(Trouble(said) for said in self.held),
        ]

    def _troubles_of_processes(self) -> list[Trouble]:
        troubles = []
        if self.refusal:
            said = f"The database takes no write, for {self.refusal}: nothing is sent."
            troubles.append(Trouble(said, self.waiting_since))
        if not self.broker_up:
            why = f", for {self.broker_refusal}" if self.broker_refusal else ""
            said = f"The broker takes no message{why}: what is accepted waits."
            troubles.append(Trouble(said, self.waiting_since))
        if self.are_workers_unknown:
            troubles.append(Trouble(f"Whether a worker is alive cannot be known: {LOCKED}."))
        elif not self.workers:
            said = "No worker is alive: nothing is sent."
            troubles.append(Trouble(said, self.last_worker_seen_at))
        if self.unserved:
            said = f"No worker serves {', '.join(self.unserved)}, and there is work."
            waits = [queue.oldest for queue in self.queues if queue.name in self.unserved]
            troubles.append(Trouble(said, self._since(max(waits, default=0.0))))
        if self.scheduler.are_schedulers_unknown:
            troubles.append(Trouble(f"Whether a scheduler is alive cannot be known: {LOCKED}."))
        elif not self.scheduler.live_schedulers:
            said = "No scheduler is alive: nothing scheduled or retried goes out."
            troubles.append(Trouble(said, self.scheduler.last_scheduler_seen_at))
        return troubles

    def _troubles_of_delivery(self) -> list[Trouble]:
        troubles = []
        if self.oldest > LATE:
            longest = max(self.queues, key=lambda queue: queue.oldest)
            said = f"A notification of {longest.name} waits for {longest.oldest:.0f} s."
            troubles.append(Trouble(said, self.waiting_since))
        troubles += [
            Trouble(provider.trouble, provider.failing_since)
            for provider in self.providers
            if provider.trouble
        ]
        troubles += self.stranded
        if self.dead_letters:
            is_single = self.dead_letters == 1
            noun = "failed delivery is" if is_single else "failed deliveries are"
            said = f"{self.open_letters} {noun} open."
            troubles.append(Trouble(said, self.dead_letters_since))
        troubles += [
            Trouble(
                f"In quarantine since {q.oldest:%Y-%m-%d %H:%M} UTC: rows of {q.loop}: {q.rows}."
            )
            for q in self.quarantined
        ]
        return troubles

    def _since(self, seconds: float) -> datetime | None:
        return self.at - timedelta(seconds=seconds) if seconds else None


def held() -> list[str]:
    """Say what is held, and by whom; a hold whose row cannot be read is named by its key."""
    keys = list(holds.in_force().values_list("pk", flat=True))
    said, faults = isolation.each(
        keys, lambda key: hold_text(Hold.objects.get(pk=key)), stage="overview", key=str
    )
    return [*said, *(f"The hold {key} is in force; its row cannot be read." for key, _ in faults)]


def hold_text(hold: Hold) -> str:
    """Say what is held back, since when and why."""
    why = f": {hold.reason.rstrip('.')}" if hold.reason else ""
    return f"Held since {hold.created_at:%Y-%m-%d %H:%M} UTC: {hold}{why}."


def _troubles_of_schedules(seen: scheduler_status.Status) -> list[Trouble]:
    counted = (
        ("Schedulers of which a loop hangs", seen.hung_schedulers, None),
        ("Failed runs that nobody replayed or discarded", seen.failed_runs, seen.failed_since),
        ("Schedules whose last runs failed, one after the other", seen.failing, None),
        ("Schedules whose last due times were skipped, one after the other", seen.skipping, None),
        ("Tasks that were due and that no worker knows", seen.unknown_tasks, None),
        ("Schedules in quarantine", seen.quarantined, seen.quarantined_since),
        (
            "Due schedules that no scheduler moves on",
            seen.overdue,
            seen.overdue_since,
        ),
    )
    return [Trouble(f"{problem}: {count}.", since) for problem, count, since in counted if count]


LOCKED = "somebody keeps their rows locked (manage.py doctor)"
MOST_LETTERS = 200_000  # failed deliveries that are counted; some 20 ms
LATE = 60.0  # seconds that a due row may wait before somebody should know


def read() -> Overview:
    """Read all of it; costs index probes, however much there is. Raises ``django.db.Error``."""
    now = clock.now()
    backlogs = backlog.look(MOST)
    queues = {(queue.channel, queue.priority): Queue(*queue[:3]) for queue in backlogs}
    for row in waiting.look(MOST):
        queue = queues[row.channel, row.priority]
        queue.retrying, queue.blocked, queue.oldest = row.retrying, row.blocked, row.age(now)
    for key, count in backlog.due_but_held(MOST).items():
        queues[key].held = count
    for name, busy in busy_slots().items():
        if name in queues:
            queues[name].busy = busy
    allocated = allocation.read()
    alive = [Worker(worker.name, worker.queues, worker.slots) for worker in workers.alive()]
    for queue in queues.values():
        queue.allocation = allocated[queue.name]
        queue.workers = sum(queue.name in worker.queues for worker in alive)
    refusal, outage, depths = servers.database(), servers.broker(), _depths()
    letters = bulk_replays.open_ones().order_by().values("created_at")[:MOST_LETTERS]
    for queue in queues.values():
        queue.on_broker = (depths or {}).get(queue.name, 0)
    return Overview(
        at=now,
        queues=list(queues.values()),
        broker_up=depths is not None and outage is None,
        broker_refusal=_said(outage),
        refusal=_said(refusal),
        dead_letters=letters.count(),
        dead_letters_since=_since(letters, Min("created_at")),
        scheduler=scheduler_status.read(),
        providers=providers(),
        workers=alive,
        last_worker_seen_at=None if alive else _since(WorkerProcess.objects.all(), Max("seen_at")),
        are_workers_unknown=not alive and liveness.is_unknown(WorkerProcess),
        jobs_on_broker=(depths or {}).get(routing.JOBS_QUEUE, 0),
        quarantined=QuarantinedRow.objects.by_loop(),
        held=held(),
        stranded=[Trouble(str(stranded), stranded.since) for stranded in waiting.stranded(MOST)],
    )


def _said(outage: Outage | None) -> str:
    return f"{outage.reason} ({outage.code})" if outage else ""


def _since(rows: QuerySet[Any], moment: Min | Max) -> datetime | None:
    """Return the first or last moment of a column; ``None`` also for one that cannot be read."""
    moments: list[datetime | None] = []
    with isolation.aside("reading since when"):
        moments.append(rows.aggregate(moment=moment)["moment"])
    return next(iter(moments), None)


def busy_slots() -> dict[tuple[str, str], int]:
    """Count the worker slots that deliver now, by queue, of the workers with this VAR_DIR."""
    busy: dict[tuple[str, str], int] = {}
    for family in exposition.ProcessesCollector().collect():
        if family.name == "notifications_slots_busy":
            for sample in family.samples:
                name = (sample.labels["channel"], sample.labels["priority"])
                busy[name] = busy.get(name, 0) + int(sample.value)
    return busy


def _depths() -> dict[str, int] | None:
    """Count the messages on the broker by queue; None while it is away."""
    try:
        return publisher.depths([*routing.QUEUE_NAMES, routing.JOBS_QUEUE])
    except publisher.BrokerAway:
        return None


def providers() -> list[Provider]:
    """Read how the accounts of every channel do. Raises ``django.db.Error``."""
    by_name: dict[str, Provider] = {}
    for channel in routing.CHANNELS:
        candidates = accounts.candidates(channel)
        names = [candidate.name for candidate in candidates]
        known, errors = health.healths(names), health.last_errors(names)
        for candidate in candidates:
            shared = by_name.get(candidate.name)
            if shared:  # the outbox, where no channel has an account
                shared.channel += f", {channel}"
                continue
            seen = known[candidate.name]
            state = candidate.problem or (CIRCUIT_OPEN if seen.open_until else READY)
            failing = candidate.name in errors and (seen.open_until or seen.bad)
            error = errors[candidate.name].words if failing else ""
            figures = (seen.good, seen.bad, seen.pace)
            since = seen.failing_since if seen.streak or seen.open_until else 0.0
            by_name[candidate.name] = Provider(
                *(channel, candidate.name, *figures, state, error),
                failing_since=datetime.fromtimestamp(since, UTC) if since else None,
            )
    return list(by_name.values())
