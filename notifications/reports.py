"""What a worker tells of one claim."""

from datetime import datetime
from typing import NamedTuple

from notifications.claims import Claim
from notifications.retry import Outcome


class Report(NamedTuple):
    """The provider's outcome of one claim, and when it was tried.

    ``choice`` says why this provider; ``another`` that there is one more to go on to at once;
    ``segments`` how many an SMS took.
    """

    claim: Claim
    outcome: Outcome
    provider: str
    started_at: datetime
    choice: str = ""
    another: bool = False
    segments: int | None = None


def printable(text: str) -> str:
    """Keep a provider's words short and free of what a database refuses (NUL)."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")[:2000]
