"""Endpoints of webhooks and callbacks: each has a server of its own, and all share the slots.

A slow endpoint is not called for several times as long as its answers took, so that it gets only a
part of a slot's time; one that does not answer is left alone longer each time. Meanwhile its
messages are deferred, and use no attempt. Workers share this through Redis; while that is away,
each decides by itself.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import structlog

from notifications.core.conf import conf
from notifications.core.routing import ENDPOINT_CHANNELS
from notifications.db.shared_state import SharedStateAway, key_of, shared_state
from notifications.providers.rate_limits import digest

log = structlog.get_logger(__name__)

Row = TypeVar("Row")

CHANNELS = ENDPOINT_CHANNELS
SLOW = 1.0  # seconds that an answer may take on average
BACKOFF = 3.0  # times as long as an answer took: a slow endpoint gets a quarter of a slot's time
LONGEST_BACKOFF = 300.0  # seconds
REMEMBERED = 600.0  # seconds after its back-off for which an endpoint counts as slow
AT_ONCE = 16  # messages in one allowance; an endpoint that does not answer gets a single one


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many messages an endpoint may get now, and for how many seconds to defer the others."""

    most: int
    wait: float


def endpoint_of(channel: str, recipient: str) -> str:
    """Return the server behind a recipient, ``""`` where a channel's provider serves them all."""
    return urlsplit(recipient).netloc.lower() if channel in CHANNELS else ""


def allowances(names: Collection[str]) -> dict[str, Allowance]:
    """Return the allowances of endpoints that are known to be slow; the others need none."""
    try:
        return _allowances(list(names))
    except SharedStateAway:
        return _local_allowances(names)


def _allowances(names: list[str]) -> dict[str, Allowance]:
    with shared_state() as client, client.pipeline(transaction=False) as pipeline:
        for endpoint in names:
            pipeline.get(f"{_key(endpoint)}:hangs")
            pipeline.pttl(f"{_key(endpoint)}:rest")
        answers = iter(pipeline.execute())
        allowances = {}
        for endpoint, hangs, wait in zip(names, answers, answers, strict=True):
            if wait > 0:
                allowances[endpoint] = Allowance(0, wait / 1000)
            elif hangs is not None:
                allowance = f"{_key(endpoint)}:turn"
                is_free = client.set(allowance, 1, nx=True, px=int(_longest_turn() * 1000))
                allowances[endpoint] = (
                    Allowance(_most(int(hangs)), _longest_turn())
                    if is_free
                    else Allowance(0, max(client.pttl(allowance), 100) / 1000)
                )
    return allowances


def report(endpoint: str, pace: float, *, answers: bool, known: bool) -> None:
    """Report how long an answer took on average, in seconds, and whether any came.

    ``known`` says that the endpoint was known to be slow. Of the others only slowness is reported,
    so that a healthy one costs nothing.
    """
    slow = pace > SLOW
    if not slow and not known:
        return
    try:
        _report(endpoint, pace, slow=slow, answers=answers)
    except SharedStateAway:
        _report_locally(endpoint, pace, slow=slow, answers=answers)


def _report(endpoint: str, pace: float, *, slow: bool, answers: bool) -> None:
    key = _key(endpoint)
    with shared_state() as client:
        client.delete(f"{key}:turn")
        if not slow:
            client.delete(f"{key}:hangs", f"{key}:rest")
            return
        hangs = 0 if answers else int(client.get(f"{key}:hangs") or 0) + 1
        backoff = _backoff(pace, hangs)
        # Several workers may have waited for the endpoint at once: one of them reports it.
        if client.set(f"{key}:rest", 1, nx=True, px=int(backoff * 1000)):
            log.warning("endpoint_backs_off", endpoint=endpoint, seconds=round(backoff, 1))
            client.set(f"{key}:hangs", hangs, px=int((backoff + REMEMBERED) * 1000))


def _backoff(pace: float, hangs: int) -> float:
    return float(min(BACKOFF * pace * 2.0 ** max(hangs - 1, 0), LONGEST_BACKOFF))


def _most(hangs: int) -> int:
    return 1 if hangs else AT_ONCE


def _longest_turn() -> float:
    return 2 * conf.batch_time_limit


def _key(endpoint: str) -> str:
    return key_of(f"endpoint:{digest(endpoint)}")


_local: dict[str, tuple[int, float]] = {}  # hangs, and until when it is not called


def _local_allowances(names: Collection[str]) -> dict[str, Allowance]:
    now = time.monotonic()
    allowances = {}
    for endpoint in names:
        if endpoint in _local:
            hangs, until = _local[endpoint]
            allowances[endpoint] = (
                Allowance(0, until - now)
                if until > now
                else Allowance(_most(hangs), _longest_turn())
            )
    return allowances


def _report_locally(endpoint: str, pace: float, *, slow: bool, answers: bool) -> None:
    hangs, _ = _local.pop(endpoint, (0, 0.0))
    if slow:
        hangs = 0 if answers else hangs + 1
        _local[endpoint] = (hangs, time.monotonic() + _backoff(pace, hangs))
    while len(_local) > 1000:
        del _local[next(iter(_local))]


def forget() -> None:
    """Forget what this process knows by itself."""
    _local.clear()


class FairCalls(Generic[Row]):
    """The calls of one batch: the endpoint with the fewest open calls is next, up to a limit.

    So an endpoint that does not answer leaves room for those that do. Not safe to be used by
    several threads at once.
    """

    def __init__(self, rows: Iterable[tuple[str, Row]], known: Collection[str]) -> None:
        self._known = known
        self._waiting: dict[str, deque[Row]] = {}
        for endpoint, row in rows:
            self._waiting.setdefault(endpoint, deque()).append(row)
        self._open: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._answered: set[str] = set()
        self._seconds: dict[str, float] = defaultdict(float)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __iter__(self) -> Iterator[Row]:
        """Return the rows that wait for their call."""
        for rows in self._waiting.values():
            yield from rows

    @property
    def has_callable(self) -> bool:
        """Whether an endpoint of one that waits may be called now."""
        return any(self._open[endpoint] < AT_ONCE for endpoint in self._waiting)

    def popleft(self) -> Row | None:
        """Take the row to be called next; None where each endpoint has enough calls open."""
        endpoint = self._next()
        if endpoint is None:
            return None
        rows = self._waiting.pop(endpoint)
        row = rows.popleft()
        if rows:
            self._waiting[endpoint] = rows  # behind the others
        self._open[endpoint] += 1
        return row

    def _next(self) -> str | None:
        idle = next((endpoint for endpoint in self._waiting if not self._open[endpoint]), None)
        if idle is not None:
            return idle
        least = min(self._waiting, key=self._open.__getitem__, default=None)
        return least if least is not None and self._open[least] < AT_ONCE else None

    def clear(self) -> None:
        """Call nobody any more."""
        self._waiting.clear()

    def ended(self, endpoint: str, seconds: float, *, answered: bool) -> None:
        """Note how one call ended."""
        self._open[endpoint] -= 1
        self._ended[endpoint] += 1
        self._seconds[endpoint] += seconds
        if answered:
            self._answered.add(endpoint)

    def report(self) -> None:
        """Report how the calls ended since the last report."""
        ended, self._ended = self._ended, Counter()
        for endpoint, count in ended.items():
            report(
                endpoint,
                self._seconds.pop(endpoint) / count,
                answers=endpoint in self._answered,
                known=endpoint in self._known,
            )
