"""The words of a schedule's policy and of a fire's state. Pure: needs neither Django nor Celery."""

from enum import EnumType, StrEnum
from typing import Self, cast

DAY_SECONDS = 24 * 60 * 60
MISFIRE_CAP_LIMIT = 1000
KEY_LENGTH = 100
NOTE_LENGTH = 255
"""Letters of what the ledger notes of a fire."""


class _Listed(EnumType):
    """Gives the members of an enumeration as a column, a form and a JSON Schema want them."""

    @property
    def values(cls) -> list[str]:
        return [value for value, _ in cls.choices]

    @property
    def choices(cls) -> list[tuple[str, str]]:
        terms = cast("list[Term]", list(cls))
        return [(term.value, term.label) for term in terms]


class Term(StrEnum, metaclass=_Listed):
    """A value that is stored, with a label for people."""

    label: str

    def __new__(cls, value: str, label: str) -> Self:
        term = str.__new__(cls, value)
        term._value_, term.label = value, label
        return term


class Misfire(Term):
    """What becomes of due times that passed while no scheduler ran."""

    LATEST = "latest", "run the latest one"
    SKIP = "skip", "skip them"
    ALL = "all", "run all of them, up to the cap"


class Overlap(Term):
    """What becomes of a fire that is due while the one before it is still running."""

    ALLOW = "allow", "run both"
    SKIP = "skip", "skip the new one"
    QUEUE = "queue", "let one wait"


class Guarantee(Term):
    """What a crash between "publish" and "published" may cost."""

    AT_LEAST_ONCE = "at_least_once", "at least once"
    AT_MOST_ONCE = "at_most_once", "at most once"


class FireStatus(Term):
    """Where a fire stands, and who moves it on.

    ``due_at`` says when a scheduler must look at an unfinished fire again.
    """

    WAITING = "waiting", "waits for the run before it"  # moved on by that run's end
    CLAIMED = "claimed", "claimed, to be published"  # moved on by a scheduler
    DISPATCHED = "dispatched", "published"  # moved on by a worker; published again if lost
    RUNNING = "running", "running"  # moved on by its worker; by a scheduler if that died
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    LOST = "lost", "lost: outcome unknown, not repeated"
    HANDED_OVER = "handed_over", "published; a run outside this project is not followed"
    SKIPPED_MISFIRE = "skipped_misfire", "skipped: too late"
    SKIPPED_OVERLAP = "skipped_overlap", "skipped: the one before still ran"
    SKIPPED_EXPIRED = "skipped_expired", "skipped: no worker took it in time"
    CANCELLED = "cancelled", "cancelled"
    SKIPPED_CONDITION = "skipped_condition", "skipped: its condition said no"
    SKIPPED_HOLIDAY = "skipped_holiday", "skipped: a holiday"
    SKIPPED_UNIQUE = "skipped_unique", "skipped: its key had a run in this period"


FAILURES = (FireStatus.FAILED, FireStatus.LOST)
"""What somebody has to see to: replay or discard it."""

SKIPS = frozenset(
    {
        FireStatus.SKIPPED_MISFIRE,
        FireStatus.SKIPPED_OVERLAP,
        FireStatus.SKIPPED_EXPIRED,
    }
)
"""Not a condition's "no", a holiday or a unique key: that is what the project wanted."""
SUCCESSES = frozenset({FireStatus.SUCCEEDED, FireStatus.HANDED_OVER})
