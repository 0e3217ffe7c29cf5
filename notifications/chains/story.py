"""What became of a run: its steps in their order, and which of them has reached."""

from typing import NamedTuple
from uuid import UUID

from notifications.core.chains import Part, has_reached
from notifications.models import UNFINISHED, ChainRun, Notification

_COLUMNS = ("id", "chain_step", "status", "reason", "due_at", "sent_at", "read_at", "attempt_count")


class StepState(NamedTuple):
    """One notification of a run; ``channel`` is its way."""

    part: Part
    channel: str
    reached: bool


class Story(NamedTuple):
    """A run with its steps. ``state`` is ``running``, ``reached`` or ``unreached``."""

    run: ChainRun
    steps: list[StepState]

    @property
    def state(self) -> str:
        """Return whether a step has reached, or may yet."""
        if any(step.reached for step in self.steps):
            return "reached"
        is_open = any(step.part.status in UNFINISHED for step in self.steps)
        return "running" if is_open else "unreached"


def of(run: ChainRun) -> Story:
    """Read a run's steps; one to several devices is there for each.

    A run leaves with the last of its steps, so the archive is not asked.
    """
    rows = Notification.objects.filter(chain_run=run.pk).order_by("chain_step", "id")
    steps = []
    for *columns, channel in rows.values_list(*_COLUMNS, "channel"):
        part = Part._make(columns)
        steps.append(StepState(part, channel, has_reached(part, run.stop_on)))
    return Story(run, steps)


def of_notification(run: UUID | None) -> Story | None:
    """Return the story of the run that a notification is of; None where it is of none."""
    row = ChainRun.objects.filter(pk=run).first() if run is not None else None
    return of(row) if row is not None else None
