"""The one writer of outcomes: attempt row, status, next due time and dead letter, together."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Coalesce

from notifications import metrics, tracing
from notifications.core.attempt import Claim, Report, Result, error_in
from notifications.core.conf import conf
from notifications.core.reasons import Reason
from notifications.core.retry import Decision, Step, decide, policy_for
from notifications.core.text import printable
from notifications.db import clock
from notifications.db.bulk_insert import Table
from notifications.delivery import chain_steps, failed_deliveries, plain_endings
from notifications.models import Attempt, Notification, Status
from notifications.queueing import quarantine
from notifications.recipients import suppressions
from notifications.transitions import claimed, finished
from notifications.transitions.claimed import Settlement
from scheduling import isolation, sound_connection
from scheduling.isolation import Fault

T = TypeVar("T")

_ATTEMPTS = Table(Attempt, "id")
_STATUS = {
    Step.DONE: Status.SENT,
    Step.RETRY: Status.SCHEDULED,
    Step.FAIL_OVER: Status.SCHEDULED,
    Step.DEAD_LETTER: Status.FAILED,
    Step.EXPIRE: Status.EXPIRED,
}
_ENDS = (Step.DEAD_LETTER, Step.EXPIRE)
_RESCHEDULED = (Reason.WINDOW_CLOSED, Reason.CHAIN_WAITS)  # which count as due later from the first


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a claim. ``stale`` means that somebody else owns the row by now."""

    claim: Claim
    decision: Decision
    code: str
    stale: bool

    @property
    def status(self) -> Status:
        """The state that the notification was brought to."""
        return _STATUS[self.decision.step]


def record(reports: Sequence[Report], *, worker: str) -> list[Recorded]:
    """Write what came of these claims, and decide what happens next to each.

    A report whose claim was superseded changes nothing: its row carries another attempt's
    number by now, or is not being sent any more. One that cannot be written costs itself: it is
    recorded as plainly as can be, and left to its lease where even that raises.
    """
    try:
        return _soundly(lambda: _record_together(reports, worker), worker)
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
    return _record_apart(reports, worker)


def _soundly(call: Callable[[], T], worker: str) -> T:
    """Call, in a worker once more on a new connection: a provider may have spoilt the old one."""
    return sound_connection.write(call) if worker else call()


def _record_apart(reports: Sequence[Report], worker: str) -> list[Recorded]:
    recorded: list[Recorded] = []
    faults = isolation.halving(
        reports,
        lambda part: recorded.extend(_record_together(part, worker)),
        stage="record",
        key=_id_of,
    )
    plain, worse = isolation.each(faults, _record_plainly, stage="record", key=_id_of_fault)
    quarantine.note(quarantine.LEASES, ((_id_of_fault(failed), fault) for failed, fault in worse))
    return recorded + plain


def _id_of(report: Report) -> UUID:
    return report.claim.id


def _id_of_fault(faulted: tuple[Report, Fault]) -> UUID:
    return faulted[0].claim.id


def _record_together(reports: Sequence[Report], worker: str) -> list[Recorded]:
    now = clock.now()
    decided = [(report, _decide(report, now)) for report in reports]
    with transaction.atomic():
        current = _settle(decided, now)
        kept = [(r, d) for r, d in decided if r.claim.id in current]
        _keep_attempts(kept, worker, now)
        failed_deliveries.keep([(r, d) for r, d in kept if d.step is Step.DEAD_LETTER], now)
        _move_chains([r.claim.chain_run for r, d in kept if d.step in (*_ENDS, Step.DONE)], now)
        suppressions.keep_invalid([report for report, _ in kept])
    with isolation.aside("count"):
        metrics.recorded(kept, now, stale=len(decided) - len(kept))
    with isolation.aside("trace"):
        tracing.attempted(kept, now)
    return [
        Recorded(r.claim, d, r.outcome.code, stale=r.claim.id not in current) for r, d in decided
    ]


def _record_plainly(faulted: tuple[Report, Fault]) -> Recorded:
    """Record a report that cannot be written as it is: sent, or else failed for good.

    Nothing is planned from what cannot be read, such as a broken retry policy; an attempt that
    was sent is never repeated.
    """
    report, fault = faulted
    claim = report.claim
    now = clock.now()
    sent = report.outcome.result is Result.SENT
    decision = Decision(Step.DONE if sent else Step.DEAD_LETTER, reason=error_in(fault.stage))
    with transaction.atomic():
        owned = claimed.settle_plainly(claim, _STATUS[decision.step], decision.reason, now)
        if owned and not sent:
            plain_endings.keep_letter(
                claim.id, claim.channel, claim.priority, reason=decision.reason, fault=fault
            )
        if owned:
            _move_chains([claim.chain_run], now)
    return Recorded(claim, decision, fault.error, stale=not owned)


def defer(slots: Sequence[tuple[Claim, datetime]], reason: str) -> None:
    """Defer claims: no attempt is used, and each row is due again at its own time.

    The deadline of one that waits for its delivery window counts from the opening.
    """
    if not slots:
        return
    with isolation.aside("count"):
        metrics.deferred(reason, len(slots))
    claimed.defer(slots, reason, reschedules=reason in _RESCHEDULED)


def finish(claims: Iterable[Claim], status: Status, reason: str) -> set[UUID]:
    """End claims without a provider call (expired, suppressed); return the ids that were ours."""
    held = list(claims)
    now = clock.now()
    ended = claimed.end(held, status, reason, now)
    if reason != Reason.CHAIN_REACHED:
        _move_chains([claim.chain_run for claim in held if claim.id in ended], now)
    with isolation.aside("count"):
        metrics.finished(held, ended, status, reason)
    with isolation.aside("trace"):
        tracing.ended(held, ended, status, reason, now)
    return ended


def confirm_delivered(id_: UUID) -> bool:
    """Note that the recipient has it; return False if its status is not ``sent``."""
    now = clock.now()
    with transaction.atomic():
        delivered = finished.deliver(id_, now)
        if delivered:
            _move_chains(_runs_of(id_), now)
    return delivered


def confirm_read(id_: UUID) -> bool:
    """Note that the recipient has opened it; return False if it was never sent."""
    sent = Notification.objects.filter(id=id_, status__in=(Status.SENT, Status.DELIVERED))
    now = clock.now()
    with transaction.atomic():
        confirm_delivered(id_)
        moved = sent.update(read_at=Coalesce("read_at", now))
        if moved:
            _move_chains(_runs_of(id_), now)
    return bool(moved)


def note_delay(id_: UUID, code: str, detail: str) -> bool:
    """Note what a mail server said that still tries; False where the row is not just sent."""
    with transaction.atomic():
        moved = Notification.objects.filter(id=id_, status=Status.SENT).update(
            reason=Reason.DELAYED
        )
        if moved:
            attempts = Attempt.objects.filter(notification_id=id_, result=Result.SENT)
            latest = attempts.order_by("-number").values_list("pk", flat=True).first()
            Attempt.objects.filter(pk__in=[latest] if latest else []).update(
                code=code[:50], detail=printable(f"Delayed: {detail}")
            )
    return bool(moved)


def confirm_failed(report: Report) -> bool:
    """Turn a sent notification into a dead letter, as a receipt says."""
    now = clock.now()
    with transaction.atomic():
        failed = finished.fail(report.claim.id, report.outcome.reason, now)
        if failed:
            decision = Decision(Step.DEAD_LETTER, reason=report.outcome.reason)
            failed_deliveries.keep([(report, decision)], now)
            _move_chains([report.claim.chain_run], now)
    return failed


def _runs_of(id_: UUID) -> list[UUID | None]:
    return list(Notification.objects.filter(id=id_).values_list("chain_run", flat=True))


def _move_chains(runs: Iterable[UUID | None], now: datetime) -> None:
    """Have the other steps of chains follow what one has come to."""
    if of_chains := {run for run in runs if run is not None}:
        with transaction.atomic():
            chain_steps.follow(of_chains, now)


def _decide(report: Report, now: datetime) -> Decision:
    claim = report.claim
    return decide(
        report.outcome,
        policy=policy_for(claim.priority, claim.retry, claim.channel),
        guarantee=claim.guarantee,
        attempt=claim.attempt - claim.failovers - claim.losses,
        losses=claim.losses + report.outcome.lost,
        now=now,
        first_due_at=claim.scheduled_at,
        expires_at=claim.expires_at,
        draw=random.random(),  # noqa: S311 -- spreads a crowd, protects nothing
        another_provider=report.another,
    )


def _settle(decided: list[tuple[Report, Decision]], now: datetime) -> set[UUID]:
    """Move the rows on, those alike in one statement; return the ids that were still ours."""
    alike: dict[Settlement, list[Claim]] = defaultdict(list)
    for report, decision in decided:
        settlement = Settlement(
            status=_STATUS[decision.step],
            due_at=decision.due_at,
            reason=decision.reason,
            provider=report.provider,
            failovers=int(decision.step is Step.FAIL_OVER),
            losses=int(report.outcome.lost),
            segments=report.segments,
        )
        alike[settlement].append(report.claim)
    return claimed.settle(alike, now, forget_content=conf.forget_content)


def _keep_attempts(kept: list[tuple[Report, Decision]], worker: str, now: datetime) -> None:
    _ATTEMPTS.insert(
        [
            {
                "notification_id": report.claim.id,
                "number": report.claim.attempt,
                "provider": report.provider,
                "choice": report.choice[:100],
                "result": report.outcome.result.value,
                "code": report.outcome.code[:50],
                "detail": printable(report.outcome.detail),
                "provider_message_id": report.outcome.provider_message_id[:255],
                "worker": worker,
                "started_at": report.started_at,
                "finished_at": now,
                "retry_at": decision.due_at,
            }
            for report, decision in kept
        ]
    )
