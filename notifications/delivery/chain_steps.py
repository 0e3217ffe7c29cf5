"""The steps of chains: each is let through by what the others of its run have come to.

Two steps of a run may be claimed at the same moment, by workers that do not see each other's
claims. So the run's row is locked first, and the others are read after that: who comes second
sees what the first has written. The run notes which step was let through last, and when: the next
one waits from then. What is not needed any more ends with what reached, in one transaction.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction

from notifications.core.attempt import Claim
from notifications.core.chains import (
    WAITS_FOR_ITS_TURN,
    Course,
    Part,
    Turn,
    brought_forward,
    has_reached,
    judge,
)
from notifications.core.conf import conf
from notifications.core.reasons import Reason
from notifications.db import clock
from notifications.delivery.plan import Plan
from notifications.models import WAITING, ChainRun, Notification, Status
from notifications.transitions import waiting


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
    course = Course(run.stop_on, run.waits, run.going, run.going_at)
    lease = timedelta(seconds=conf.lease)
    turn, due_at = judge(step, parts, course, now=now, lease=lease)
    if turn is Turn.STOP:
        made.end[Status.CANCELLED, Reason.CHAIN_REACHED].append(claim)
    elif turn is Turn.WAIT and due_at is not None:
        made.defer[Reason.CHAIN_WAITS].append((claim, due_at))
    elif run.going is None or run.going < step:
        run.going, run.going_at = step, now
        ChainRun.objects.filter(pk=run.pk).update(going=step, going_at=now)


def follow(runs: Iterable[UUID], now: datetime) -> None:
    """Have the other steps of these runs follow what one has come to, in the same transaction.

    Where one has reached, those that wait end. Where all up to one have ended and reached nobody,
    the next is due now: its due time alone moves, and whether it is wanted is asked at its claim.
    """
    locked = _locked(set(runs))
    parts = _parts(run.pk for run in locked)
    reached = {
        run.pk: {part.step for part in parts[run.pk] if has_reached(part, run.stop_on)}
        for run in locked
    }
    _end_others({run: steps for run, steps in reached.items() if steps}, now)
    for run, steps in reached.items():
        moved = {} if steps else brought_forward(parts[run], now)
        for id_, due_at in moved.items():
            step = Notification.objects.filter(
                pk=id_,
                status=Status.SCHEDULED,
                attempt_count=0,
                reason__in=WAITS_FOR_ITS_TURN,
            )
            waiting.reschedule(step, due_at)


def _end_others(reached: Mapping[UUID, Collection[int]], now: datetime) -> None:
    """End the steps that wait, but for other devices of the one step that has reached.

    One that is being claimed at this moment is passed over: it is asked as it is let through.
    """
    if not reached:
        return
    steps = Notification.objects.filter(chain_run__in=reached, status__in=WAITING)
    if connection.features.has_select_for_update_skip_locked:
        steps = steps.select_for_update(skip_locked=True, of=("self",))
    rows = steps.values_list("pk", "chain_run", "chain_step")
    ids = [id_ for id_, run, step in rows if run is not None and set(reached[run]) - {step}]
    waiting.cancel(Notification.objects.filter(pk__in=ids), Reason.CHAIN_REACHED, now)


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
