"""The health of provider accounts, as all workers together see it.

Each account has a hash in Redis: how many attempts went well and badly and how long they took,
in buckets of a few seconds, and until when its circuit is open: then it gets no messages, except
one that probes it. What follows from these numbers is pure.
"""

import contextlib
import json
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import redis
import structlog

from notifications.core.masking import without_addresses
from notifications.db import clock
from notifications.db.shared_state import SharedStateAway, key_of, need, shared_state
from notifications.providers.selection import AccountState

log = structlog.get_logger(__name__)

BUCKET = 5  # seconds
KEPT = 12  # buckets: what is older than a minute is forgotten, and the weight is back
PRIOR = 20  # successes that each account is credited with: one early failure changes little
TRIP_AFTER = 5  # failures in a row, over all workers, that open an account's circuit
COOLDOWN = 2.0  # seconds that a circuit is open at first; each next time in a row twice as long
LONGEST_COOLDOWN = 30.0
SLOW = 3.0  # times as slow as the quickest is still as good
LEAST = 0.05  # the part of its weight that a poor account keeps
ERROR_KEPT = 600  # seconds for which an account's last error is known
ERROR_LENGTH = 200  # characters
# Fields of an account's hash in Redis, named so that workers of older versions read them, too.
OPENINGS, OPEN_UNTIL = "rests", "resting_until"
FAILING_SINCE = "failing_since"
FRESH = 0.25  # seconds to cache health, and to buffer successes before they are reported


@dataclass(frozen=True, slots=True)
class Health:
    """One account's attempts over the last minute; ``streak`` counts failures in a row.

    ``openings`` counts how often in a row its circuit opened; ``open_until`` is a Unix time, and so
    is ``failing_since``, when the first of the failures in a row was reported; 0: none is.
    """

    good: int = 0
    bad: int = 0
    seconds: float = 0.0
    streak: int = 0
    openings: int = 0
    open_until: float = 0.0
    failing_since: float = 0.0

    @property
    def pace(self) -> float:
        """Seconds that an attempt takes, 0 where none is known."""
        return self.seconds / (self.good + self.bad) if self.good + self.bad else 0.0


@dataclass(slots=True)
class Tally:
    """What came of some attempts; ``trailing`` counts the failures after the last success.

    ``error`` is what the provider said at the last failure.
    """

    good: int = 0
    bad: int = 0
    seconds: float = 0.0
    trailing: int = 0
    error: str = ""

    def add(self, *, well: bool, seconds: float, error: str = "") -> None:
        """Count one attempt, and the seconds that it took."""
        self.seconds += seconds
        if well:
            self.good += 1
            self.trailing = 0
        else:
            self.bad += 1
            self.trailing += 1
            self.error = error


class LastError(NamedTuple):
    """What an account failed with last: ``at`` is a Unix time, ``words`` name no recipient."""

    at: float
    words: str


def states(healths: Mapping[str, Health]) -> dict[str, AccountState]:
    """Return for each account how much of its weight it keeps, and whether its circuit is open.

    Slowness is relative: where all accounts are slow, none is avoided.
    """
    quickest = min((h.pace for h in healths.values() if h.pace), default=0.0)
    return {
        name: AccountState(factor=_factor(health, quickest), is_open=health.open_until > 0)
        for name, health in healths.items()
    }


def _factor(health: Health, quickest: float) -> float:
    good = health.good + PRIOR
    factor = (good / (good + health.bad)) ** 2
    if quickest and health.pace > SLOW * quickest and health.good + health.bad >= TRIP_AFTER:
        factor *= SLOW * quickest / health.pace
    return max(factor, LEAST)


def cooldown_after(health: Health, now: float) -> float:
    """Return for how many seconds to open an account's circuit now; 0 to leave it as it is."""
    if health.streak < TRIP_AFTER or now < health.open_until:
        return 0.0
    return float(min(COOLDOWN * 2.0**health.openings, LONGEST_COOLDOWN))


def read(fields: Mapping[str, float], now: float) -> Health:
    """Make sense of an account's hash."""
    oldest = now // BUCKET - KEPT

    def total(kind: str) -> float:
        return sum(
            value
            for name, value in fields.items()
            if name.startswith(kind) and float(name[len(kind) :]) > oldest
        )

    return Health(
        good=int(total("good:")),
        bad=int(total("bad:")),
        seconds=total("seconds:"),
        streak=int(fields.get("streak", 0)),
        openings=int(fields.get(OPENINGS, 0)),
        open_until=fields.get(OPEN_UNTIL, 0.0),
        failing_since=fields.get(FAILING_SINCE, 0.0),
    )


_lock = threading.Lock()
_local: dict[str, dict[str, float]] = {}  # what this process knows by itself, while Redis is away
_local_errors: dict[str, LastError] = {}  # likewise
_read: dict[str, tuple[float, Health]] = {}  # when each was read, and what it said
_unreported: dict[str, tuple[float, Tally]] = {}  # successes, and since when they are buffered


def healths(names: Collection[str]) -> dict[str, Health]:
    """Return the health of these accounts, at most ``FRESH`` seconds old."""
    stale = [n for n in names if time.monotonic() - _read.get(n, (float("-inf"),))[0] > FRESH]
    if stale:
        now = clock.now().timestamp()
        for name, fields in zip(stale, _fields(stale), strict=True):
            _read[name] = (time.monotonic(), read(fields, now))
    return {name: _read[name][1] for name in names}


def report(name: str, tally: Tally) -> None:
    """Report to all workers how some attempts with an account ended."""
    known = _read.get(name, (0.0, Health()))[1]
    since, kept = _unreported.pop(name, (time.monotonic(), Tally()))
    kept.good += tally.good
    kept.bad += tally.bad
    kept.seconds += tally.seconds
    kept.trailing = tally.trailing
    kept.error = tally.error or kept.error
    if not (kept.bad or known.streak or known.open_until) and time.monotonic() - since < FRESH:
        _unreported[name] = (since, kept)
        return
    now = clock.now().timestamp()
    health = read(_add(name, kept, now), now)
    if kept.error:
        _keep_error(name, LastError(now, without_addresses(kept.error)[:ERROR_LENGTH]))
    if seconds := cooldown_after(health, now):
        log.warning("provider_circuit_opened", account=name, seconds=seconds)
        _set(name, {OPENINGS: health.openings + 1, OPEN_UNTIL: now + seconds})
    _read.pop(name, None)


def last_errors(names: Sequence[str]) -> dict[str, LastError]:
    """Return what each of these accounts failed with last, where it failed in the last minutes.

    Of a process that has no Redis, only its own attempts are known.
    """
    try:
        with shared_state() as client:
            texts = client.mget([_error_key(name) for name in names]) if names else []
    except SharedStateAway:
        with _lock:
            return {name: _local_errors[name] for name in names if name in _local_errors}
    return {
        name: LastError(*json.loads(text))
        for name, text in zip(names, texts, strict=True)
        if text is not None
    }


def forget() -> None:
    """Forget what this process knows by itself."""
    _read.clear()
    _unreported.clear()
    with _lock:
        _local.clear()
        _local_errors.clear()


def types(names: Iterable[str]) -> dict[str, str]:
    """Return the keys of these accounts in Redis, each with its type."""
    return {
        key: kind
        for name in names
        for key, kind in ((_key(name), "hash"), (_error_key(name), "string"))
    }


def may_probe(name: str, health: Health) -> bool:
    """Let one worker probe an account whose circuit was open; the claim lasts ``COOLDOWN`` s."""
    if clock.now().timestamp() < health.open_until:
        return False
    try:
        with shared_state() as client:
            return bool(client.set(f"{_key(name)}:probe", 1, nx=True, px=int(COOLDOWN * 1000)))
    except SharedStateAway:
        return True


def end_cooldown(name: str) -> bool:
    """Have the next worker probe an account whose circuit is open; False if it is closed.

    Its outcome decides, as after any cooldown. Other processes see it within ``FRESH`` seconds.
    """
    _read.pop(name, None)
    if not healths([name])[name].open_until:
        return False
    _set(name, {OPEN_UNTIL: clock.now().timestamp()})
    with contextlib.suppress(SharedStateAway), shared_state() as client:
        client.delete(f"{_key(name)}:probe")
    _read.pop(name, None)
    return True


def _key(name: str) -> str:
    return key_of(f"health:{name}")


def _error_key(name: str) -> str:
    return f"{_key(name)}:error"


def _keep_error(name: str, error: LastError) -> None:
    try:
        with shared_state() as client:
            client.set(_error_key(name), json.dumps(error), ex=ERROR_KEPT)
    except SharedStateAway:
        with _lock:
            _local_errors[name] = error


def _fields(names: Collection[str]) -> list[dict[str, float]]:
    try:
        with shared_state() as client, client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hgetall(_key(name))
            return [_floats(found) for found in pipeline.execute()]
    except SharedStateAway:
        with _lock:
            return [dict(_local.get(name, {})) for name in names]


def _add(name: str, tally: Tally, now: float) -> dict[str, float]:
    """Add a tally to an account's hash, and return the hash."""
    bucket = int(now // BUCKET)
    counts = {
        f"good:{bucket}": tally.good,
        f"bad:{bucket}": tally.bad,
        f"seconds:{bucket}": tally.seconds,
    }
    try:
        with shared_state() as client, client.pipeline() as pipeline:
            for field, count in counts.items():
                pipeline.hincrbyfloat(_key(name), field, count)
            _note_streak(pipeline, name, tally, now)
            pipeline.expire(_key(name), 10 * BUCKET * KEPT)
            pipeline.hgetall(_key(name))
            fields = _floats(pipeline.execute()[-1])
            _forget_old(client, name, fields, bucket)
            return fields
    except SharedStateAway:
        return _add_locally(name, counts, tally, now)


def _note_streak(pipeline: "redis.client.Pipeline", name: str, tally: Tally, now: float) -> None:
    if tally.good:
        pipeline.hset(_key(name), "streak", str(tally.trailing))
        pipeline.hdel(_key(name), OPENINGS, OPEN_UNTIL, FAILING_SINCE)
    if tally.trailing:
        pipeline.hsetnx(_key(name), FAILING_SINCE, str(now))
    if not tally.good:
        pipeline.hincrbyfloat(_key(name), "streak", tally.bad)


def _forget_old(client: redis.Redis, name: str, fields: Mapping[str, float], bucket: int) -> None:
    old = [f for f in fields if ":" in f and float(f.partition(":")[2]) <= bucket - KEPT]
    if len(old) > KEPT:
        client.hdel(_key(name), *old)


def _add_locally(
    name: str, counts: Mapping[str, float], tally: Tally, now: float
) -> dict[str, float]:
    with _lock:
        known = _local.get(name, {})
        fields = {**known, **{f: known.get(f, 0.0) + count for f, count in counts.items()}}
        if tally.good:
            fields |= {"streak": tally.trailing, OPENINGS: 0, OPEN_UNTIL: 0.0, FAILING_SINCE: 0.0}
        else:
            fields["streak"] = fields.get("streak", 0) + tally.bad
        if tally.trailing:
            fields[FAILING_SINCE] = fields.get(FAILING_SINCE) or now
        _local[name] = dict(list(fields.items())[-3 * KEPT - 4 :])
        return fields


def _set(name: str, fields: Mapping[str, float]) -> None:
    try:
        with shared_state() as client:
            client.hset(_key(name), mapping={f: str(value) for f, value in fields.items()})
    except SharedStateAway:
        with _lock:
            _local.setdefault(name, {}).update(fields)


def _floats(fields: Mapping[bytes, bytes]) -> dict[str, float]:
    return {name.decode(): float(value) for name, value in fields.items()}


need(lambda: types(list(_read)))
