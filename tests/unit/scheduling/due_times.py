"""What the tests of rules share: when a rule is due."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from scheduling.recurrence import upcoming
from scheduling.rule_documents import recurrence_of

START = datetime(2026, 1, 1, 0, 30, 7, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def due(rule: dict[str, Any], count: int = 10, start: datetime = START) -> list[datetime]:
    return upcoming(recurrence_of(rule, start), start, count)


def at(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)
