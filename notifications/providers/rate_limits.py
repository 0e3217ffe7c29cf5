"""Rate limits that hold for the whole cluster: the generic cell rate algorithm (GCRA) in Redis.

Each limit keeps two timestamps. ``tat`` is GCRA's theoretical arrival time: it bounds what may go
now, so that no burst exceeds the rate. ``reserved_tat`` is the next unreserved time: a message that
must wait reserves it, so that waiting messages return in order and one by one. A message that
returns at its reserved time reserves nothing new.

A batch costs one round trip, however many messages and limits it has.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from notifications.core.rates import Rate
from notifications.db.shared_state import SharedStateAway, shared_state

EVENNESS = (
    0.2  # seconds of an account's rate that may go at once, so that none is lost to waking up
)
HIGH_SHARE = 0.2  # of an account's rate, which only high priority may use


@dataclass(frozen=True, slots=True)
class Bucket:
    """One limit: its name, seconds between two, and seconds of rate that may go at once."""

    key: str
    interval: float
    tolerance: float


def steady(key: str, rate: Rate, share: float = 1.0) -> Bucket:
    """Make an account's bucket, or one of a share of it: even, with little at once."""
    interval = rate.interval / share
    return Bucket(key, interval, max(EVENNESS - interval, 0.0))


def bursty(key: str, rate: Rate) -> Bucket:
    """Make a recipient's or a template's bucket: the whole count at once, then evenly."""
    return Bucket(key, rate.interval, rate.seconds - rate.interval)


@dataclass(frozen=True, slots=True)
class LimitRequest:
    """A message's request to go now, against each of its limits.

    ``reserved``: it returns at its reserved time. ``peek``: check without reserving, because
    another account will be tried instead.
    """

    buckets: tuple[Bucket, ...]
    reserved: bool = False
    peek: bool = False

    @property
    def reserves(self) -> bool:
        """Whether it reserves a time if it must wait."""
        return not (self.reserved or self.peek)


# For each request: microseconds to wait, 0 for "go". It is counted by all of its limits or by none.
# Microseconds, whole numbers: exact in Lua's doubles.
_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local tat, reserved_tat, interval, tolerance = {}, {}, {}, {}
local count = #KEYS
local state = redis.call('MGET', unpack(KEYS))
for i = 1, count / 2 do
  tat[i] = tonumber(state[2 * i - 1] or 0)
  reserved_tat[i] = tonumber(state[2 * i] or 0)
  interval[i] = tonumber(ARGV[2 * i - 1])
  tolerance[i] = tonumber(ARGV[2 * i])
end
local answers, at = {}, count + 1
local retried = {}
while at <= #ARGV do
  local returns, peeks = ARGV[at] == 'reserved', ARGV[at] == 'peek'
  local n = tonumber(ARGV[at + 1])
  local slot, binding = now, nil
  for j = at + 2, at + 1 + n do
    local i = tonumber(ARGV[j])
    local free = tat[i] - tolerance[i]
    if returns then
      free = free + (retried[i] or 0) * interval[i]
    else
      free = math.max(free, reserved_tat[i] - tolerance[i])
    end
    if free > slot then slot, binding = free, i end
  end
  if not binding then
    for j = at + 2, at + 1 + n do
      local i = tonumber(ARGV[j])
      tat[i] = math.max(tat[i], now) + interval[i]
      if not returns then reserved_tat[i] = math.max(reserved_tat[i], now) + interval[i] end
    end
  elseif returns then
    retried[binding] = (retried[binding] or 0) + 1
  elseif not peeks then
    reserved_tat[binding] = math.max(reserved_tat[binding], tat[binding], now) + interval[binding]
  end
  answers[#answers + 1] = math.ceil(slot - now)
  at = at + 2 + n
end
for i = 1, count / 2 do
  for offset, value in ipairs({tat[i], reserved_tat[i]}) do
    local life = math.ceil((value - now) / 1000)
    if life > 0 then
      redis.call('SET', KEYS[2 * i - 2 + offset], string.format('%.0f', value), 'PX', life + 1000)
    end
  end
end
return answers
"""


def ask(asks: Sequence[LimitRequest]) -> list[float]:
    """Return how many seconds each has to wait, in order; 0 means that it may go and is counted.

    While Redis is away, the same limits hold in this process alone.
    """
    if not asks:
        return []
    buckets = {b.key: b for ask in asks for b in ask.buckets}
    if not buckets:
        return [0.0] * len(asks)
    try:
        return _ask_redis(asks, buckets)
    except SharedStateAway:
        return _LOCAL.ask(asks)


def _ask_redis(asks: Sequence[LimitRequest], buckets: Mapping[str, Bucket]) -> list[float]:
    place = {key: index for index, key in enumerate(buckets, start=1)}
    # The keys are named so that workers of older versions share them.
    keys = [name for key in buckets for name in (f"{key}:spent", f"{key}:booked")]
    arguments: list[int | str] = []
    for bucket in buckets.values():
        arguments += [round(bucket.interval * 1e6), round(bucket.tolerance * 1e6)]
    for ask in asks:
        kind = "reserved" if ask.reserved else "peek" if ask.peek else "new"
        arguments += [kind, len(ask.buckets)]
        arguments += [place[b.key] for b in ask.buckets]
    with shared_state() as client:
        waits = client.register_script(_SCRIPT)(keys=keys, args=arguments)
    return [wait / 1e6 for wait in waits]


@dataclass
class LocalLimits:
    """The same algorithm for one process: what holds while Redis is away."""

    tat: dict[str, float] = field(default_factory=dict)
    reserved_tat: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, asks: Sequence[LimitRequest]) -> list[float]:
        """Return for each request the seconds to wait; 0 if it may go now."""
        with self.lock:
            now = time.monotonic()
            retried: dict[str, int] = {}
            waits = [self._decide_one(ask, now, retried) for ask in asks]
            for clocks in (self.tat, self.reserved_tat):
                if len(clocks) > 100_000:
                    for key in [key for key, value in clocks.items() if value < now]:
                        del clocks[key]
            return waits

    def _decide_one(self, request: LimitRequest, now: float, retried: dict[str, int]) -> float:
        slot, binding = now, None
        for b in request.buckets:
            free = self.tat.get(b.key, 0.0) - b.tolerance
            if request.reserved:
                free += retried.get(b.key, 0) * b.interval
            else:
                free = max(free, self.reserved_tat.get(b.key, 0.0) - b.tolerance)
            if free > slot + 1e-6:  # what floats lose is not a wait
                slot, binding = free, b
        if binding is None:
            for b in request.buckets:
                self._advance(self.tat, b, now)
                if not request.reserved:
                    self._advance(self.reserved_tat, b, now)
        elif request.reserved:
            retried[binding.key] = retried.get(binding.key, 0) + 1
        elif request.reserves:
            self._advance(self.reserved_tat, binding, max(now, self.tat.get(binding.key, 0.0)))
        return slot - now

    @staticmethod
    def _advance(clocks: dict[str, float], b: Bucket, now: float) -> None:
        clocks[b.key] = max(clocks.get(b.key, 0.0), now) + b.interval


_LOCAL = LocalLimits()


def digest(recipient: str) -> str:
    """Return a recipient's name in a key, which does not show the recipient."""
    return blake2b(recipient.encode(), digest_size=12).hexdigest()
