"""Chains: whether a step of a run may be sent now, as a value.

A run's steps are notifications, each with its own due time. At most one of them is with a provider
at a time, and none is sent once another has reached what the chain stops on.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any, NamedTuple

LOOK_AGAIN = timedelta(seconds=0.5)  # while another step is with a provider


class StopOn(StrEnum):
    """What a step has to reach so that no further one is sent; each includes those below it."""

    SENT = "sent"  # a provider took it
    DELIVERED = "delivered"  # a receipt says that the recipient has it
    READ = "read"  # the recipient has opened it


class Part(NamedTuple):
    """One notification of a run; ``key`` tells it from the others, ``attempts`` were begun."""

    key: Any
    step: int
    status: str
    reason: str
    due_at: datetime | None
    sent_at: datetime | None
    read_at: datetime | None
    attempts: int


class Turn(StrEnum):
    """What becomes of a step that is due."""

    GO = "go"
    WAIT = "wait"
    STOP = "stop"  # another step has reached


class Verdict(NamedTuple):
    """The turn, and for one that waits until when."""

    turn: Turn
    due_at: datetime | None = None


def has_reached(part: Part, stop_on: str) -> bool:
    """Return whether a notification has reached what its chain stops on."""
    if part.read_at is not None:
        return True
    reached = {StopOn.SENT: ("sent", "delivered"), StopOn.DELIVERED: ("delivered",)}
    return part.status in reached.get(StopOn(stop_on), ())


def judge(
    step: int,
    parts: Iterable[Part],
    *,
    stop_on: str,
    waits: Sequence[float],
    going: int | None,
    now: datetime,
) -> Verdict:
    """Return what becomes of a step that is due, by what the other steps have come to.

    ``waits`` are the seconds from each step's sending to the next. ``going`` is the step that was
    let through last.
    """
    others = [part for part in parts if part.step != step]
    if any(has_reached(part, stop_on) for part in others):
        return Verdict(Turn.STOP)
    if any(part.step == going and part.status == "sending" for part in others):
        return Verdict(Turn.WAIT, now + LOOK_AGAIN)
    before = max((part.step for part in others if part.step < step), default=0)
    sent = [part.sent_at for part in others if part.step == before and part.sent_at]
    if sent and before <= len(waits):
        due_at = max(sent) + timedelta(seconds=waits[before - 1])
        if due_at > now and any(_may_reach(part) for part in others if part.step == before):
            return Verdict(Turn.WAIT, due_at)
    return Verdict(Turn.GO)


def brought_forward(parts: Iterable[Part], now: datetime) -> Mapping[Any, datetime]:
    """Return new due times, by key, where all steps before one have ended and reached nobody.

    That step is due now, and those after it by as much earlier.
    """
    ordered = sorted(parts, key=lambda part: part.step)
    for step, group in groupby(ordered, key=lambda part: part.step):
        of_step = list(group)
        if all(part.status in _ENDED for part in of_step):
            continue
        dues = [part.due_at for part in of_step if _waits_for_its_turn(part) and part.due_at]
        if not dues or min(dues) <= now:
            return {}
        earlier = min(dues) - now
        return {
            part.key: part.due_at - earlier
            for part in ordered
            if part.step >= step and _waits_for_its_turn(part) and part.due_at is not None
        }
    return {}


_ENDED = ("failed", "expired", "suppressed", "cancelled")


def _may_reach(part: Part) -> bool:
    return part.status in ("sent", "delivered")


def _waits_for_its_turn(part: Part) -> bool:
    """Whether it waits for nothing else, such as a delivery window or a retry."""
    return part.status == "scheduled" and part.attempts == 0 and not part.reason
