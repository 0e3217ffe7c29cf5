"""A fault with its cure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """``cure`` says what to do, in words that can be followed at 3 a.m."""

    id: str
    problem: str
    cure: str
    is_error: bool = True  # else: it works, but not as it should
