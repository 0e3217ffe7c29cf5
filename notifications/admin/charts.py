"""Bars for small charts, drawn as SVG by the templates: nothing is fetched from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 100.0
LEAST = 2.0  # high enough to be seen


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar in a box that is ``HEIGHT`` high; ``x`` counts the bars from the left."""

    x: int
    y: float
    height: float
    value: float
    kind: str = ""
    told: str = ""
    """What it says when it is pointed at."""


def bars(values: Sequence[float]) -> list[Bar]:
    """Scale values to the highest; a value above zero is always to be seen."""
    return stacked([{"": value} for value in values])


def stacked(columns: Sequence[dict[str, float]]) -> list[Bar]:
    """Stack each column's kinds, the first at the bottom, scaled to the highest column."""
    top = max((sum(column.values()) for column in columns), default=0) or 1
    drawn = []
    for x, column in enumerate(columns):
        foot = HEIGHT
        for kind, value in column.items():
            if value > 0:
                height = min(max(value / top * HEIGHT, LEAST), foot)
                foot -= height
                drawn.append(Bar(x, round(foot, 1), round(height, 1), value, kind))
    return drawn
