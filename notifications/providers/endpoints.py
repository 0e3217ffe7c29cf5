"""Receivers of webhooks and callbacks: each has a server of its own, and all share the slots.

Who answers slowly rests after each turn for several times as long as its answers took, so that
it gets a part of a slot's time and no more; who does not answer at all rests longer each time.
Meanwhile its messages wait, and spend no attempt. All workers know it through Redis; while that
is away, each by itself.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import structlog

from notifications.core import conf
from notifications.core.routing import ENDPOINT_CHANNELS
from notifications.db.shared_state import SharedStateAway, key_of, shared_state
from notifications.providers.rate_limits import digest

log = structlog.get_logger(__name__)

Row = TypeVar("Row")

CHANNELS = ENDPOINT_CHANNELS
SLOW = 1.0  # seconds that an answer may take on average
REST = 3.0  # times as long as an answer took: a slow receiver gets a quarter of a slot
LONGEST_REST = 300.0  # seconds
REMEMBERED = 600.0  # seconds after its rest for which a receiver must still take turns
AT_ONCE = 16  # messages in a turn of one that answers; one that does not gets a single one


@dataclass(frozen=True, slots=True)
class Turn:
    """How many messages a receiver gets now, and how many seconds the others have to wait."""

    most: int
    wait: float


def receiver_of(channel: str, recipient: str) -> str:
    """Name the server behind a recipient, ``""`` where a channel's provider serves them all."""
    return urlsplit(recipient).netloc.lower() if channel in CHANNELS else ""


def turns(receivers: Collection[str]) -> dict[str, Turn]:
    """Return the turns of those that are known to be slow; the others need none."""
    try:
        return _turns(list(receivers))
    except SharedStateAway:
        return _local_turns(receivers)


def _turns(receivers: list[str]) -> dict[str, Turn]:
    with shared_state() as client, client.pipeline(transaction=False) as pipeline:
        for receiver in receivers:
            pipeline.get(f"{_key(receiver)}:hangs")
            pipeline.pttl(f"{_key(receiver)}:rest")
        answers = iter(pipeline.execute())
        found = {}
        for receiver, hangs, rest in zip(receivers, answers, answers, strict=True):
            if rest > 0:
                found[receiver] = Turn(0, rest / 1000)
            elif hangs is not None:
                turn = f"{_key(receiver)}:turn"
                mine = client.set(turn, 1, nx=True, px=int(_longest_turn() * 1000))
                found[receiver] = (
                    Turn(_most(int(hangs)), _longest_turn())
                    if mine
                    else Turn(0, max(client.pttl(turn), 100) / 1000)
                )
    return found


def tell(receiver: str, pace: float, *, answers: bool, known: bool) -> None:
    """Tell all workers how long an answer took on average, in seconds, and whether any came.

    ``known`` says that the receiver was known to be slow. Of the others only bad news is told,
    so that a healthy one costs nothing.
    """
    slow = pace > SLOW
    if not slow and not known:
        return
    try:
        _tell(receiver, pace, slow=slow, answers=answers)
    except SharedStateAway:
        _tell_locally(receiver, pace, slow=slow, answers=answers)


def _tell(receiver: str, pace: float, *, slow: bool, answers: bool) -> None:
    key = _key(receiver)
    with shared_state() as client:
        client.delete(f"{key}:turn")
        if not slow:
            client.delete(f"{key}:hangs", f"{key}:rest")
            return
        hangs = 0 if answers else int(client.get(f"{key}:hangs") or 0) + 1
        rest = _rest(pace, hangs)
        # Several workers may have waited for it at once: they tell one thing, not several.
        if client.set(f"{key}:rest", 1, nx=True, px=int(rest * 1000)):
            log.warning("receiver_rests", receiver=receiver, seconds=round(rest, 1))
            client.set(f"{key}:hangs", hangs, px=int((rest + REMEMBERED) * 1000))


def _rest(pace: float, hangs: int) -> float:
    return float(min(REST * pace * 2.0 ** max(hangs - 1, 0), LONGEST_REST))


def _most(hangs: int) -> int:
    return 1 if hangs else AT_ONCE


def _longest_turn() -> float:
    return 2 * float(conf.get("HOLD"))


def _key(receiver: str) -> str:
    return key_of(f"receiver:{digest(receiver)}")


_local: dict[str, tuple[int, float]] = {}  # hangs, and until when it rests


def _local_turns(receivers: Collection[str]) -> dict[str, Turn]:
    now = time.monotonic()
    found = {}
    for receiver in receivers:
        if receiver in _local:
            hangs, until = _local[receiver]
            found[receiver] = (
                Turn(0, until - now) if until > now else Turn(_most(hangs), _longest_turn())
            )
    return found


def _tell_locally(receiver: str, pace: float, *, slow: bool, answers: bool) -> None:
    hangs, _ = _local.pop(receiver, (0, 0.0))
    if slow:
        hangs = 0 if answers else hangs + 1
        _local[receiver] = (hangs, time.monotonic() + _rest(pace, hangs))
    while len(_local) > 1000:
        del _local[next(iter(_local))]


def forget() -> None:
    """Forget what this process knows by itself."""
    _local.clear()


class Calls(Generic[Row]):
    """The calls of one batch: whose server has the fewest open is called next, up to a limit.

    So a receiver that does not answer leaves room for those that do. Not safe to be used by several
    threads at once.
    """

    def __init__(self, rows: Iterable[tuple[str, Row]], known: Collection[str]) -> None:
        self._known = known
        self._waiting: dict[str, deque[Row]] = {}
        for receiver, row in rows:
            self._waiting.setdefault(receiver, deque()).append(row)
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
        """Whether a receiver of one that waits may be called now."""
        return any(self._open[receiver] < AT_ONCE for receiver in self._waiting)

    def popleft(self) -> Row | None:
        """Take the row to be called next; None where each receiver has enough calls open."""
        receiver = self._next()
        if receiver is None:
            return None
        rows = self._waiting.pop(receiver)
        row = rows.popleft()
        if rows:
            self._waiting[receiver] = rows  # behind the others
        self._open[receiver] += 1
        return row

    def _next(self) -> str | None:
        idle = next((one for one in self._waiting if not self._open[one]), None)
        if idle is not None:
            return idle
        least = min(self._waiting, key=self._open.__getitem__, default=None)
        return least if least is not None and self._open[least] < AT_ONCE else None

    def clear(self) -> None:
        """Call nobody any more."""
        self._waiting.clear()

    def ended(self, receiver: str, seconds: float, *, answered: bool) -> None:
        """Note how one call ended."""
        self._open[receiver] -= 1
        self._ended[receiver] += 1
        self._seconds[receiver] += seconds
        if answered:
            self._answered.add(receiver)

    def tell(self) -> None:
        """Tell what came of them since the last time."""
        ended, self._ended = self._ended, Counter()
        for receiver, count in ended.items():
            tell(
                receiver,
                self._seconds.pop(receiver) / count,
                answers=receiver in self._answered,
                known=receiver in self._known,
            )
