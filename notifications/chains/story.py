"""What became of a run: its steps in their order, and which of them has reached."""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from notifications.core.chains import Part, StopOn, has_reached
from notifications.models import UNFINISHED, ChainRun, Notification, Status

NO_ADDRESS = "no_address"
STATES = ("running", "reached", "unreached")

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
    return of_several([run])[run.pk]


def of_several(runs: Iterable[ChainRun]) -> dict[UUID, Story]:
    """Read the steps of runs by one query, and return the stories by the runs' ids."""
    by_id = {run.pk: Story(run, []) for run in runs}
    rows = Notification.objects.filter(chain_run__in=by_id).order_by("chain_step", "id")
    for id_, *columns, channel in rows.values_list("chain_run", *_COLUMNS, "channel"):
        part = Part._make(columns)
        found = by_id[id_]
        found.steps.append(StepState(part, channel, has_reached(part, found.run.stop_on)))
    return by_id


def in_state(runs: "QuerySet[ChainRun]", state: str) -> "QuerySet[ChainRun]":
    """Return those of ``STATES``."""
    steps = Notification.objects.filter(chain_run=OuterRef("pk"))
    read = Exists(steps.filter(read_at__isnull=False))
    delivered = Exists(steps.filter(status=Status.DELIVERED))
    sent = Exists(steps.filter(status=Status.SENT))
    reached = (
        Q(read)
        | Q(delivered, stop_on__in=(StopOn.SENT, StopOn.DELIVERED))
        | Q(sent, stop_on=StopOn.SENT)
    )
    is_open = Q(Exists(steps.filter(status__in=UNFINISHED)))
    return runs.filter(
        {"running": ~reached & is_open, "reached": reached, "unreached": ~reached & ~is_open}[state]
    )


def of_notification(run: UUID | None) -> Story | None:
    """Return the story of the run that a notification is of; None where it is of none."""
    row = ChainRun.objects.filter(pk=run).first() if run is not None else None
    return of(row) if row is not None else None
