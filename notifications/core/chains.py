"""Chains: whether a step of a run may be sent now, as a value.

A run's steps are notifications, each with its own due time. They begin in their order, and none is
sent once another has reached what the chain stops on.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any, NamedTuple

from notifications.core.reasons import Reason

LOOK_AGAIN = timedelta(seconds=0.5)  # at the earliest, while another attempt is with a provider
WAITS_FOR_ITS_TURN = ("", Reason.CHAIN_WAITS)  # the reasons of a step that waits for nothing else

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class StopOn(StrEnum):
    """What a step has to reach so that no further one is sent; each includes those below it."""

    SENT = "sent"  # a provider took it
    DELIVERED = "delivered"  # a receipt says that the recipient has it
    READ = "read"  # the recipient has opened it
    ANSWERED = "answered"  # as read, and an SMS that they answer to a step by SMS counts as read


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


GO = Verdict(Turn.GO)


class Course(NamedTuple):
    """How far a run has come.

    ``waits`` are the seconds from the beginning of each step to the next. ``going`` is the latest
    step that was let through, ``going_at`` when that was first.
    """

    stop_on: str
    waits: Sequence[float]
    going: int | None = None
    going_at: datetime | None = None


def has_reached(part: Part, stop_on: str) -> bool:
    """Return whether a notification has reached what its chain stops on."""
    if part.read_at is not None:
        return True
    reached = {StopOn.SENT: ("sent", "delivered"), StopOn.DELIVERED: ("delivered",)}
    return part.status in reached.get(StopOn(stop_on), ())


def judge(
    step: int, parts: Iterable[Part], course: Course, *, now: datetime, lease: timedelta
) -> Verdict:
    """Return what becomes of a step that is due, by what the other steps have come to.

    ``lease`` is how long a claim lasts. The steps begin in their order, each at the earliest by its
    wait after the one before, for as long as that one may reach. One that has begun may go on.
    """
    others = sorted((part for part in parts if part.step != step), key=_step_of)
    going = course.going or 0
    if any(has_reached(part, course.stop_on) for part in others):
        return Verdict(Turn.STOP)
    opens = _LONG_AGO
    for number, group in groupby(others, key=_step_of):
        open_ = [part for part in group if part.status not in _ENDED]
        if open_ and going <= number < step:
            begins = _begins_at(open_, course, opens, now, lease)
            opens = begins + timedelta(seconds=course.waits[number - 1])
    if opens <= now:
        begun = [part for part in others if part.step <= going]
        opens = max((_look_again(part, course, now, lease) for part in begun), default=now)
    return Verdict(Turn.WAIT, opens) if opens > now else GO


def _look_again(part: Part, course: Course, now: datetime, lease: timedelta) -> datetime:
    """Return until when the answer to an attempt is waited for: at the most for its step's wait.

    For the last step, which has none, until its lease ends. The longer it takes, the more seldom it
    is looked at.
    """
    if part.status != "sending" or part.due_at is None:
        return now
    began = part.due_at - lease
    wait = course.waits[part.step - 1]
    bound = began + timedelta(seconds=wait) if wait else part.due_at
    return min(bound, now + max(LOOK_AGAIN, now - began))


def _begins_at(
    parts: Sequence[Part], course: Course, opens: datetime, now: datetime, lease: timedelta
) -> datetime:
    """Return when a step was sent; else when it has begun, or may at the earliest.

    ``opens`` is when the steps before let it. One that was claimed begins then: its worker may have
    died before it let it through.
    """
    if sent := [part.sent_at for part in parts if part.sent_at]:
        return max(sent)
    if parts[0].step == course.going:
        return course.going_at or _LONG_AGO
    claimed = [part.due_at - lease for part in parts if part.status == "sending" and part.due_at]
    waiting = [
        max(now, part.due_at or now) if part.status == "scheduled" else now
        for part in parts
        if part.status != "sending"
    ]
    return max(opens, min(claimed + waiting, default=now))


def brought_forward(parts: Iterable[Part], now: datetime) -> Mapping[Any, datetime]:
    """Return new due times, by key, where all steps before one have ended and reached nobody.

    That step is due now, and those after it by as much earlier.
    """
    ordered = sorted(parts, key=_step_of)
    for step, group in groupby(ordered, key=_step_of):
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


# A step that an older version let join a digest has ended, too: nobody tells whether it reached.
_ENDED = ("failed", "expired", "suppressed", "cancelled", "merged")


def _step_of(part: Part) -> int:
    return part.step


def _waits_for_its_turn(part: Part) -> bool:
    """Whether it waits for nothing else, such as a delivery window or a retry."""
    return part.status == "scheduled" and part.attempts == 0 and part.reason in WAITS_FOR_ITS_TURN
