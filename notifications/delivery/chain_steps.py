"""The steps of chains: each is let through by what the others of its run have come to.

Two steps of a run may be claimed at the same moment, by workers that do not see each other's
claims. So the run's row is locked first, and the others are read after that: who comes second
sees what the first has written. The run notes which step was let through; while that one is being
sent the others wait, and a worker's death frees them with its lease.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from notifications.core.attempt import Claim
from notifications.core.chains import Part, Turn, brought_forward, judge
from notifications.core.reasons import Reason
from notifications.db import clock
from notifications.delivery.plan import Plan
from notifications.models import ChainRun, Notification, Status


def plan(claims: Sequence[Claim]) -> Plan:
    """Plan to end the steps that are not needed any more, and to defer those that have to wait.

    The others are noted as let through. Costs nothing where no claim is a step.
    """
    made = Plan()
    steps: dict[UUID, list[Claim]] = defaultdict(list)
    for claim in claims:
        if claim.chain_run is not None:
            steps[claim.chain_run].append(claim)
    if not steps:
        return made
    with transaction.atomic():
        runs = _locked(steps)
        parts = _parts(run.pk for run in runs)
        now = clock.now()
        for run in runs:
            for claim in sorted(steps[run.pk], key=lambda claim: claim.chain_step or 0):
                _let_through(claim, run, parts[run.pk], now, made)
    return made


def _let_through(
    claim: Claim, run: ChainRun, parts: Collection[Part], now: datetime, made: Plan
) -> None:
    step = claim.chain_step or 0
    turn, due_at = judge(
        step, parts, stop_on=run.stop_on, waits=run.waits, going=run.going, now=now
    )
    if turn is Turn.STOP:
        made.end[Status.CANCELLED, Reason.CHAIN_REACHED].append(claim)
    elif turn is Turn.WAIT and due_at is not None:
        made.defer[Reason.CHAIN_WAITS].append((claim, due_at))
    elif run.going != step:
        run.going = step
        ChainRun.objects.filter(pk=run.pk).update(going=step)


def bring_forward(runs: Iterable[UUID], now: datetime) -> None:
    """Have the next step of these runs due now where all before it have reached nobody.

    To be called in the transaction that ended one. The due time alone moves: whether the step is
    still wanted is asked when it is claimed.
    """
    locked = _locked(set(runs))
    for parts in _parts(run.pk for run in locked).values():
        for id_, due_at in brought_forward(parts, now).items():
            waiting = Notification.objects.filter(
                pk=id_, status=Status.SCHEDULED, attempt_count=0, reason=""
            )
            waiting.update(due_at=due_at, scheduled_at=due_at)


def _locked(runs: Iterable[UUID]) -> list[ChainRun]:
    """Lock runs in one order, so that two never wait for each other."""
    return list(
        ChainRun.objects.filter(pk__in=list(runs)).order_by("pk").select_for_update(of=("self",))
    )


def _parts(runs: Iterable[UUID]) -> dict[UUID, list[Part]]:
    rows = Notification.objects.filter(chain_run__in=list(runs)).values_list(
        *("chain_run", "id", "chain_step", "status", "reason", "due_at", "sent_at", "read_at"),
        "attempt_count",
    )
    parts: dict[UUID, list[Part]] = defaultdict(list)
    for run, *columns in rows:
        parts[run].append(Part._make(columns))
    return parts
