"""How a rate is written: ``100/s``, ``5/m``, ``5000/h``, ``20000/d``."""

import re
from dataclasses import dataclass
from typing import Self

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_PATTERN = re.compile(r"^(\d{1,9})/([smhd])$")


class BadRate(ValueError):
    """The text is not a rate."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds. At most ``count`` go at once."""

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``100/s``. Raises ``BadRate``."""
        match = _PATTERN.match(text)
        if not match or int(match[1]) == 0:
            raise BadRate("Write a rate like 100/s, 5/m, 5000/h or 20000/d.")
        return cls(int(match[1]), _SECONDS[match[2]])

    @property
    def interval(self) -> float:
        """Seconds between two, when they come evenly."""
        return self.seconds / self.count
