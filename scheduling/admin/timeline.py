"""A schedule's fires as a picture: what was planned, ran, was late, failed or was skipped.

Drawn as SVG by the page's template: nothing is fetched, and no script is needed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from scheduling.models import Fire
from scheduling.terms import FAILURES, SUCCESSES

WIDTH, MARGIN = 1000.0, 12.0
LATE = 5.0
"""Seconds after its moment from which a fire counts as late."""
ROWS = ("planned", "running", "succeeded", "late", "failed", "skipped")
ROW_HEIGHT = 22


@dataclass(frozen=True, slots=True)
class Mark:
    """One fire in the picture; ``text`` tells it in words."""

    x: float
    y: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of fire, with the place of its name."""

    kind: str
    y: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """The whole picture. ``now`` is the place of the present."""

    marks: Sequence[Mark]
    rows: Sequence[Row]
    now: float
    begin: datetime
    end: datetime
    width: int = int(WIDTH)
    height: int = ROW_HEIGHT * len(ROWS)


def kind_of(fire: Fire) -> str:
    """Return which row of the picture a fire belongs to."""
    if fire.status in FAILURES:
        return "failed"
    if fire.status in SUCCESSES:
        return "late" if (fire.lateness or 0.0) > LATE else "succeeded"
    return "skipped" if fire.finished_at is not None else "running"


def draw(fires: Iterable[Fire], planned: Iterable[datetime], now: datetime) -> Timeline | None:
    """Draw fires and those to come; ``None`` where there are none."""
    marks = [
        (fire.fire_at, kind_of(fire), f"{fire.get_status_display()}{_noted(fire)}{_late(fire)}")
        for fire in fires
    ]
    marks += [(moment, "planned", "planned") for moment in planned]
    return _drawn(marks, now)


def draw_all(
    fires: Iterable[tuple[Fire, str]], planned: Iterable[tuple[datetime, str]], now: datetime
) -> Timeline | None:
    """Draw the fires of many schedules, each with its schedule's name; ``None`` as above."""
    marks = [
        (fire.fire_at, kind_of(fire), f"{name}, {fire.get_status_display()}{_noted(fire)}")
        for fire, name in fires
    ]
    marks += [(moment, "planned", f"{name}, planned") for moment, name in planned]
    return _drawn(marks, now)


def _drawn(fires: Sequence[tuple[datetime, str, str]], now: datetime) -> Timeline | None:
    if not fires:
        return None
    moments = [now, *(moment for moment, _, _ in fires)]
    begin, end = min(moments), max(moments)
    length = (end - begin).total_seconds() or 1.0

    def place(moment: datetime) -> float:
        share = (moment - begin).total_seconds() / length
        return round(MARGIN + share * (WIDTH - 2 * MARGIN), 1)

    middle = {kind: number * ROW_HEIGHT + ROW_HEIGHT // 2 for number, kind in enumerate(ROWS)}
    marks = [
        Mark(place(moment), middle[kind], kind, f"{moment:%Y-%m-%d %H:%M:%S} UTC: {text}")
        for moment, kind, text in fires
    ]
    rows = [Row(kind, y) for kind, y in middle.items()]
    return Timeline(marks, rows, place(now), begin, end)


def _noted(fire: Fire) -> str:
    return f" ({fire.note})" if fire.note else ""


def _late(fire: Fire) -> str:
    late = fire.lateness
    return f", {late:.1f} s late" if late is not None and late > LATE else ""
