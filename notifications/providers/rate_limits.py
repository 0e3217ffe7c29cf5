"""Rate limits that hold for the whole cluster: the generic cell rate algorithm (GCRA) in Redis.

Each limit keeps two timestamps. ``spent`` is GCRA's theoretical arrival time: what may go now, so
that no burst exceeds the rate. ``booked`` is the next unreserved time: a message that must wait
reserves it, so that waiting messages return in order and one by one. A message that returns at
its reserved time reserves nothing new.

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
local spent, booked, interval, tolerance = {}, {}, {}, {}
local count = #KEYS
local state = redis.call('MGET', unpack(KEYS))
for i = 1, count / 2 do
  spent[i] = tonumber(state[2 * i - 1] or 0)
  booked[i] = tonumber(state[2 * i] or 0)
  interval[i] = tonumber(ARGV[2 * i - 1])
  tolerance[i] = tonumber(ARGV[2 * i])
end
local answers, at = {}, count + 1
local retried = {}
while at <= #ARGV do
  local came_booked, looks = ARGV[at] == 'booked', ARGV[at] == 'looks'
  local n = tonumber(ARGV[at + 1])
  local slot, binding = now, nil
  for j = at + 2, at + 1 + n do
    local i = tonumber(ARGV[j])
    local free = spent[i] - tolerance[i]
    if came_booked then
      free = free + (retried[i] or 0) * interval[i]
    else
      free = math.max(free, booked[i] - tolerance[i])
    end
    if free > slot then slot, binding = free, i end
  end
  if not binding then
    for j = at + 2, at + 1 + n do
      local i = tonumber(ARGV[j])
      spent[i] = math.max(spent[i], now) + interval[i]
      if not came_booked then booked[i] = math.max(booked[i], now) + interval[i] end
    end
  elseif came_booked then
    retried[binding] = (retried[binding] or 0) + 1
  elseif not looks then
    booked[binding] = math.max(booked[binding], spent[binding], now) + interval[binding]
  end
  answers[#answers + 1] = math.ceil(slot - now)
  at = at + 2 + n
end
for i = 1, count / 2 do
  for offset, value in ipairs({spent[i], booked[i]}) do
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
    buckets = {b.key: b for one in asks for b in one.buckets}
    if not buckets:
        return [0.0] * len(asks)
    try:
        return _ask_redis(asks, buckets)
    except SharedStateAway:
        return _LOCAL.ask(asks)


def _ask_redis(asks: Sequence[LimitRequest], buckets: Mapping[str, Bucket]) -> list[float]:
    place = {key: index for index, key in enumerate(buckets, start=1)}
    keys = [name for key in buckets for name in (f"{key}:spent", f"{key}:booked")]
    arguments: list[int | str] = []
    for bucket in buckets.values():
        arguments += [round(bucket.interval * 1e6), round(bucket.tolerance * 1e6)]
    for each in asks:
        kind = "booked" if each.reserved else "looks" if each.peek else "new"
        arguments += [kind, len(each.buckets)]
        arguments += [place[b.key] for b in each.buckets]
    with shared_state() as client:
        waits = client.register_script(_SCRIPT)(keys=keys, args=arguments)
    return [wait / 1e6 for wait in waits]


@dataclass
class LocalLimits:
    """The same algorithm for one process: what holds while Redis is away."""

    spent: dict[str, float] = field(default_factory=dict)
    booked: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, asks: Sequence[LimitRequest]) -> list[float]:
        """Return for each request the seconds to wait; 0 if it may go now."""
        with self.lock:
            now = time.monotonic()
            retried: dict[str, int] = {}
            waits = [self._one(one, now, retried) for one in asks]
            for clocks in (self.spent, self.booked):
                if len(clocks) > 100_000:
                    for key in [key for key, value in clocks.items() if value < now]:
                        del clocks[key]
            return waits

    def _one(self, request: LimitRequest, now: float, retried: dict[str, int]) -> float:
        slot, binding = now, None
        for b in request.buckets:
            free = self.spent.get(b.key, 0.0) - b.tolerance
            if request.reserved:
                free += retried.get(b.key, 0) * b.interval
            else:
                free = max(free, self.booked.get(b.key, 0.0) - b.tolerance)
            if free > slot + 1e-6:  # what floats lose is not a wait
                slot, binding = free, b
        if binding is None:
            for b in request.buckets:
                self._advance(self.spent, b, now)
                if not request.reserved:
                    self._advance(self.booked, b, now)
        elif request.reserved:
            retried[binding.key] = retried.get(binding.key, 0) + 1
        elif request.reserves:
            self._advance(self.booked, binding, max(now, self.spent.get(binding.key, 0.0)))
        return slot - now

    @staticmethod
    def _advance(clocks: dict[str, float], b: Bucket, now: float) -> None:
        clocks[b.key] = max(clocks.get(b.key, 0.0), now) + b.interval


_LOCAL = LocalLimits()


def digest(recipient: str) -> str:
    """Return a recipient's name in a key, which does not show the recipient."""
    return blake2b(recipient.encode(), digest_size=12).hexdigest()
