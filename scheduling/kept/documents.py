"""A job, a fire and a lease as values: what any backend gives, and what two of them store."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

import uuid_utils

from scheduling.policies import MisfirePolicy
from scheduling.rule_documents import Rule, moment_of, recurrence_of
from scheduling.terms import FireStatus, Guarantee, Misfire, Overlap
from scheduling.timetable import Timetable, share_of

Definition = dict[str, Any]
"""A job's definition as JSON; ``job_schema`` has its schema."""

DECLARED, REGISTERED = "job", "register"
"""Who made a job: ``@jobs.job``, or ``jobs.register``."""
VENDOR_VERSION = 8
"""RFC 9562 leaves this version of a UUID to its user: by it a fire is told from the database's."""


@dataclass(frozen=True)
class Job:
    """A job and its state. ``version`` is the one it was read with; 0: it is not stored yet."""

    name: str
    definition: Definition
    created_at: datetime
    enabled: bool = True
    origin: str = ""
    declared: Definition | None = None
    """What ``@jobs.job`` last declared; tells a change of the code from a person's."""
    next_fire_at: datetime | None = None
    answered_until: datetime | None = None
    paused_at: datetime | None = None
    quarantined_at: datetime | None = None
    quarantine_reason: str = ""
    failed_in_a_row: int = 0
    skipped_in_a_row: int = 0
    last_run_at: datetime | None = None
    total_run_count: int = 0
    version: int = field(default=0, compare=False)

    @property
    def handler(self) -> str:
        """The name of the task that it calls."""
        return str(self.definition["handler"])

    @property
    def rule(self) -> Rule:
        """When it is due, as JSON."""
        rule: Rule = self.definition["schedule"]
        return rule

    @property
    def fires_once(self) -> bool:
        """Whether it is over after its first run."""
        return bool(self.definition.get("one_off", False)) or "at" in self.rule

    @property
    def overlap(self) -> str:
        """What happens to a run that is due while another one runs."""
        return str(self.definition.get("overlap", Overlap.ALLOW))

    @property
    def concurrency(self) -> int:
        """How many of its runs may go on at once."""
        return int(self.definition.get("concurrency", 1))

    @property
    def concurrency_key(self) -> str:
        """The key by which several jobs share their runs at once; empty for none."""
        return str(self.definition.get("concurrency_key", ""))

    @property
    def unique_key(self) -> str:
        """The key of which one run is let through in ``unique_period``; empty for none."""
        return str(self.definition.get("unique_key", ""))

    @property
    def unique_period(self) -> timedelta:
        """The time in which one run of ``unique_key`` is let through."""
        return timedelta(seconds=self.definition.get("unique_seconds", 0))

    @property
    def guarantee(self) -> str:
        """Whether a run whose end is not known is repeated."""
        return str(self.definition.get("guarantee", Guarantee.AT_LEAST_ONCE))

    @property
    def pause_after(self) -> int | None:
        """After how many failed runs in a row it is paused; ``None`` for never."""
        return self.definition.get("pause_after")

    @property
    def catches_up(self) -> bool:
        """Whether ``resume`` makes up for the due times of the pause."""
        return bool(self.definition.get("catch_up_on_resume", False))

    @property
    def retries(self) -> int:
        """How often a failed run is tried again."""
        return int(self.definition.get("retries", 0))

    @property
    def retry_backoff(self) -> float:
        """The seconds before the first retry."""
        return float(self.definition.get("retry_backoff", 10))

    @property
    def retry(self) -> dict[str, Any] | None:
        """The retry strategy with its figures; ``None`` for the exponential one."""
        return self.definition.get("retry")

    @property
    def message_expires(self) -> timedelta | None:
        """How long a message may wait for a worker; ``None`` for ever."""
        return _length(self.definition.get("message_expires"))

    @property
    def misfire_policy(self) -> MisfirePolicy:
        """What happens to due times that were missed."""
        return MisfirePolicy(
            misfire=self.definition.get("misfire", Misfire.LATEST),
            cap=self.definition.get("misfire_cap", 10),
            grace=_length(self.definition.get("grace")),
        )

    @cached_property
    def timetable(self) -> Timetable:
        """The due times, an interval's counted from ``answered_until``.

        Raises ``InvalidJob`` or ``ImpossibleSchedule``.
        """
        start, expires = _moment(self.definition, "start"), _moment(self.definition, "expires")
        jitter = timedelta(seconds=self.definition.get("jitter", 0))
        origin = start or self.answered_until or self.created_at
        return Timetable(
            rule=recurrence_of(self.rule, origin),
            start=start,
            expires=expires,
            jitter=jitter,
            jitter_share=share_of(self.name) if jitter else 0.0,
        )


@dataclass(frozen=True)
class Fire:
    """One due time of one job, and what became of it. Its id is the Celery task's id."""

    id: UUID
    job: str
    scheduled_for: datetime
    """The nominal due time, without jitter."""
    fire_at: datetime
    """When it should fire: the due time with its jitter."""
    status: FireStatus = FireStatus.CLAIMED
    due_at: datetime | None = None
    """When a scheduler must look at an unfinished one again."""
    by_hand: bool = False
    missed_since: datetime | None = None
    note: str = ""
    """The holiday that has left it out, or from which it was moved; the key that was taken."""
    concurrency_key: str = ""
    """Of the job, as the fire was made."""
    attempt: int = 0
    publishes: int = 0
    dispatched_at: datetime | None = None
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str = ""
    error: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    cause: str = ""
    resolved_at: datetime | None = None
    resolution: str = ""
    replayed_as: UUID | None = None
    version: int = field(default=0, compare=False)

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.finished_at is None

    @property
    def has_failed(self) -> bool:
        """Whether it failed for good or is lost, and nobody has seen to it."""
        return bool(self.cause) and self.resolved_at is None

    @property
    def lateness(self) -> float | None:
        """Seconds from the moment it should have fired to its first dispatch."""
        if self.dispatched_at is None:
            return None
        return (self.dispatched_at - self.fire_at).total_seconds()


@dataclass(frozen=True)
class Lease:
    """A lease that this process holds. Of two tokens of a lease the later one is the higher."""

    name: str
    owner: str
    token: int
    ttl: timedelta


@dataclass(frozen=True)
class Figures:
    """How a backend's schedules are doing; of fires, those due in the last ``window``."""

    window: timedelta
    live_schedulers: int
    due_backlog: int
    """Jobs that are due and not claimed yet."""
    unfinished: dict[str, int]
    """Unfinished fires by status."""
    quarantined: int
    failed_runs: int
    """Runs that failed for good, or are lost, and that nobody has seen to."""
    fires_by_status: dict[str, int]
    lateness_p50: float | None
    """Seconds from when a fire should go out to when it did; ``None`` if there was none."""
    lateness_p99: float | None


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the value below which that share of them lies; ``None`` of none."""
    if not ordered:
        return None
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def new_fire_id() -> UUID:
    """Make the id of a fire that no database keeps: ordered by time."""
    number = uuid_utils.uuid7().int & ~(0xF << 76) | VENDOR_VERSION << 76
    return UUID(int=number)


def encode(value: Job | Fire) -> str:
    """Write a value as JSON, without what is as it would be anyway."""
    written: dict[str, Any] = {}
    for name, default in _DEFAULTS[type(value)]:
        here = getattr(value, name)
        if here is not default and here != default:
            written[name] = here
    return json.dumps(written, default=_plain, separators=(",", ":"))


def decode_job(text: str | bytes, version: int) -> Job:
    """Read a job."""
    job: Job = _decode(Job, json.loads(text), version)
    return job


def decode_fire(text: str | bytes, version: int) -> Fire:
    """Read a fire."""
    document = json.loads(text)
    document["id"] = UUID(document["id"])
    if document.get("replayed_as"):
        document["replayed_as"] = UUID(document["replayed_as"])
    if "status" in document:
        document["status"] = _STATUSES[document["status"]]
    fire: Fire = _decode(Fire, document, version)
    return fire


def unreadable_job(name: str, version: int, now: datetime, error: BaseException) -> Job:
    """Stand for a job whose document cannot be read: in quarantine, until it is defined anew."""
    reason = f"Its document cannot be read: {type(error).__name__}"
    definition: Definition = {"name": name, "handler": "", "schedule": {}}
    return Job(name, definition, now, quarantined_at=now, quarantine_reason=reason, version=version)


def unreadable_fire(key: UUID, version: int, now: datetime, error: BaseException) -> Fire:
    """Stand for a fire whose document cannot be read: of no job."""
    reason = f"Its document cannot be read: {type(error).__name__}"
    return Fire(key, "", now, now, due_at=now, error=reason, version=version)


def _decode(kind: type[Any], document: dict[str, Any], version: int) -> Any:
    # A document of a later version of this code may have more than this one knows.
    known = {name: document[name] for name in _NAMES[kind] if name in document}
    for name in _MOMENTS[kind] & known.keys():
        known[name] = datetime.fromisoformat(known[name])
    return kind(**known, version=version)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be kept as JSON")


def _length(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _moment(definition: Mapping[str, Any], key: str) -> datetime | None:
    text = definition.get(key)
    return None if text is None else moment_of(text, field=key)


_STATUSES = {status.value: status for status in FireStatus}
_STORED = {kind: [f for f in fields(kind) if f.name != "version"] for kind in (Job, Fire)}
_NAMES = {kind: [f.name for f in stored] for kind, stored in _STORED.items()}
_DEFAULTS = {
    kind: [(f.name, [] if f.name == "history" else f.default) for f in stored]
    for kind, stored in _STORED.items()
}
_MOMENTS = {
    kind: {f.name for f in stored if f.name.endswith(("_at", "_until", "_for", "_since"))}
    for kind, stored in _STORED.items()
}
