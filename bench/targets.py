"""What a benchmark must reach, written as people read it, and whether it does.

``>= 0.5 x`` is of the ratio of ours to the floor's; ``<= 300 ms`` of our own figure; several are
joined by a comma.
"""

import re

_PART = re.compile(r"(?P<sign><=|>=) (?P<limit>[\d,]*\d(?:\.\d+)?) ?(?P<unit>\S.*)")


def is_met(target: str, *, ours: float, ratio: float) -> bool:
    """Return whether a figure reaches its target. Raises ``ValueError`` if it cannot be read."""
    return all(_reaches(part, ours, ratio) for part in target.split(", "))


def _reaches(part: str, ours: float, ratio: float) -> bool:
    read = _PART.fullmatch(part)
    if read is None:
        raise ValueError(f"{part!r} is no target like '>= 0.5 x' or '<= 300 ms'.")
    limit = float(read["limit"].replace(",", ""))
    seen = ratio if read["unit"] == "x" else ours
    return seen <= limit if read["sign"] == "<=" else seen >= limit
