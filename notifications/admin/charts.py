"""Bars for small charts, drawn as SVG by the templates: nothing is fetched from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 100.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar in a box that is ``HEIGHT`` high; ``x`` counts the bars."""

    x: int
    y: float
    height: float
    value: float


def bars(values: Sequence[float], highest: float | None = None) -> list[Bar]:
    """Scale values to the highest; a value above zero is always to be seen."""
    top = highest or max(values, default=0) or 1
    drawn = []
    for x, value in enumerate(values):
        height = max(value / top * HEIGHT, 3.0) if value > 0 else 0.0
        drawn.append(Bar(x, round(HEIGHT - height, 1), round(height, 1), value))
    return drawn
