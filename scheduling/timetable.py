"""When a schedule is due: its rule, start, expiry and jitter read as one. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduling import recurrence
from scheduling.calendar_rules import BusinessDays
from scheduling.recurrence import Recurrence

INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Timetable:
    """The due times of one schedule: those of ``rule`` from ``start`` to ``expires``."""

    rule: Recurrence
    start: datetime | None = None
    expires: datetime | None = None
    jitter: timedelta = timedelta(0)
    jitter_share: float = 0.0

    def after(self, moment: datetime) -> datetime | None:
        """Return the first nominal due time after ``moment``; ``None`` if there is none."""
        due = self.rule.after(self._not_before_start(moment))
        return None if due is None or self._is_past(due) else due

    def fire_time(self, due: datetime) -> datetime:
        """Return the moment at which a due time fires: its jitter later."""
        return due + self.delay(due)

    def delay(self, due: datetime) -> timedelta:
        """Return the jitter of a due time: constant, and below the gap to the next one."""
        if not self.jitter:
            return timedelta(0)
        following = self.rule.after(due)
        room = min(self.jitter, following - due) if following else self.jitter
        return room * self.jitter_share

    def newest(self, after: datetime, until: datetime, count: int) -> list[datetime]:
        """Return the newest ``count`` nominal due times in ``(after, until]``, oldest first."""
        end = min(until, self.expires) if self.expires else until
        return recurrence.newest(self.rule, self._not_before_start(after), end, count)

    def upcoming(self, after: datetime, count: int) -> list[datetime]:
        """Return the next ``count`` nominal due times."""
        due = recurrence.upcoming(self.rule, self._not_before_start(after), count)
        return [moment for moment in due if not self._is_past(moment)]

    def between(self, since: datetime, until: datetime, count: int) -> list[datetime]:
        """Return the first ``count`` nominal due times from ``since`` until before ``until``."""
        dues: list[datetime] = []
        due = self.after(since - INSTANT)
        while due is not None and due < until and len(dues) < count:
            dues.append(due)
            due = self.after(due)
        return dues

    def left_out(self, after: datetime, until: datetime) -> list[tuple[datetime, str]]:
        """Return what a calendar has left out in ``(after, until)``, with the holidays' names."""
        if not isinstance(self.rule, BusinessDays):
            return []
        return self.rule.left_out(self._not_before_start(after), until)

    def note(self, due: datetime) -> str:
        """Say from which free days a calendar has moved due times to this one."""
        if not isinstance(self.rule, BusinessDays):
            return ""
        days = self.rule.moved_from(due)
        return f"moved from {', '.join(f'{day} ({name})' for day, name in days)}" if days else ""

    def is_over(self, now: datetime) -> bool:
        """Return whether nothing can be due any more."""
        return self._is_past(now)

    def _not_before_start(self, moment: datetime) -> datetime:
        return max(moment, self.start - INSTANT) if self.start else moment

    def _is_past(self, moment: datetime) -> bool:
        return self.expires is not None and moment > self.expires


def share_of(key: object) -> float:
    """Return a schedule's own constant share of a jitter, in [0, 1)."""
    digest = hashlib.blake2b(str(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
