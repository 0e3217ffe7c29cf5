"""The one writer of outcomes: attempt row, status, next due time and dead letter, together."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, transaction
from django.db.models.functions import Coalesce

from notifications import metrics, tracing
from notifications.core.attempt import Claim, Report, Result, error_in
from notifications.core.conf import conf
from notifications.core.reasons import Reason
from notifications.core.retry import Decision, Step, decide, policy_for
from notifications.core.text import printable
from notifications.db import clock, dialect
from notifications.db.bulk_insert import Table
from notifications.delivery import chain_steps, failed_deliveries, plain_endings
from notifications.models import Attempt, Notification, Status
from notifications.queueing import quarantine
from notifications.recipients import suppressions
from scheduling import isolation, sound_connection
from scheduling.isolation import Fault

T = TypeVar("T")

_TABLE = Notification._meta.db_table
_ATTEMPTS = Table(Attempt, "id")
_FORGET = ", context = '{}', subject = '', body = '', mail_id = NULL"
_STATUS = {
    Step.DONE: Status.SENT,
    Step.RETRY: Status.SCHEDULED,
    Step.FAIL_OVER: Status.SCHEDULED,
    Step.DEAD_LETTER: Status.FAILED,
    Step.EXPIRE: Status.EXPIRED,
}
_ENDS = (Step.DEAD_LETTER, Step.EXPIRE)
_MOVED = (Reason.WINDOW_CLOSED, Reason.CHAIN_WAITS)  # which count as due later from the first


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
    quarantine.note(quarantine.LEASES, ((_id_of_fault(one), fault) for one, fault in worse))
    return recorded + plain


def _id_of(report: Report) -> UUID:
    return report.claim.id


def _id_of_fault(faulted: tuple[Report, Fault]) -> UUID:
    return faulted[0].claim.id


def _record_together(reports: Sequence[Report], worker: str) -> list[Recorded]:
    now = clock.now()
    decided = [(report, _decide(report, now)) for report in reports]
    with transaction.atomic():
        current = _move(decided, now)
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
        owned = _update(
            "status = %s, due_at = NULL, reason = %s, sent_at = %s, finished_at = %s",
            [
                _STATUS[decision.step],
                decision.reason,
                now if sent else None,
                now,
            ],
            [claim],
        )
        if owned and not sent:
            plain_endings.keep_letter(
                claim.id, claim.channel, claim.priority, reason=decision.reason, fault=fault
            )
        if owned:
            _move_chains([claim.chain_run], now)
    return Recorded(claim, decision, fault.error, stale=claim.id not in owned)


def defer(slots: Iterable[tuple[Claim, datetime]], reason: str) -> None:
    """Defer claims: no attempt is used, and each row is due again at its own time.

    The deadline of one that waits for its delivery window counts from the opening.
    """
    values = [v for c, due_at in slots for v in (dialect.write(c.id), c.attempt, due_at)]
    if not values:
        return
    with isolation.aside("count"):
        metrics.deferred(reason, len(values) // 3)
    moved = " scheduled_at = slot.due_at," if reason in _MOVED else ""
    rows = ", ".join(["(%s, %s, %s)"] * (len(values) // 3))
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH slot(id, attempt, due_at) AS (VALUES {rows})"  # noqa: S608 -- our own words and placeholders
            f" UPDATE {_TABLE} SET status = %s, due_at = slot.due_at, reason = %s,{moved}"
            f" attempt_count = attempt_count - 1 FROM slot"
            f" WHERE {_TABLE}.id = slot.id AND attempt_count = slot.attempt AND status = %s",
            [
                *(dialect.write(value) for value in values),
                *(Status.SCHEDULED, reason, Status.SENDING),
            ],
        )


def finish(claims: Iterable[Claim], status: Status, reason: str) -> set[UUID]:
    """End claims without a provider call (expired, suppressed); return the ids that were ours."""
    held = list(claims)
    now = clock.now()
    ended = _update(
        "status = %s, due_at = NULL, reason = %s, finished_at = %s,"
        " attempt_count = attempt_count - 1",
        [status, reason, now],
        held,
    )
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
        moved = Notification.objects.filter(id=id_, status=Status.SENT).update(
            status=Status.DELIVERED, reason="", finished_at=now
        )
        if moved:
            _move_chains(_runs_of(id_), now)
    return bool(moved)


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
        moved = Notification.objects.filter(id=report.claim.id, status=Status.SENT).update(
            status=Status.FAILED, reason=report.outcome.reason, finished_at=now
        )
        if moved:
            decision = Decision(Step.DEAD_LETTER, reason=report.outcome.reason)
            failed_deliveries.keep([(report, decision)], now)
            _move_chains([report.claim.chain_run], now)
    return bool(moved)


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


def _move(decided: list[tuple[Report, Decision]], now: datetime) -> set[UUID]:
    """Move the rows on, those alike in one statement; return the ids that were still ours."""
    alike: dict[tuple[Any, ...], list[Claim]] = defaultdict(list)
    for report, decision in decided:
        status = _STATUS[decision.step]
        failovers = int(decision.step is Step.FAIL_OVER)
        losses = int(report.outcome.lost)
        key = (
            *(status, decision.due_at, decision.reason, report.provider),
            *(failovers, losses, report.segments),
        )
        alike[key].append(report.claim)
    current: set[UUID] = set()
    for (status, due_at, reason, provider, failovers, losses, segments), claims in alike.items():
        current |= _update(
            "status = %s, due_at = %s, reason = %s, provider = %s, sent_at = %s, finished_at = %s,"
            " failover_count = failover_count + %s, loss_count = loss_count + %s,"
            " segments = COALESCE(%s, segments)"
            + (_FORGET if status is Status.SENT and conf.forget_content else ""),
            [
                status,
                due_at,
                reason,
                provider,
                now if status is Status.SENT else None,
                None if status is Status.SCHEDULED else now,
                failovers,
                losses,
                segments,
            ],
            claims,
        )
    return current


def _update(assignments: str, values: list[Any], claims: Iterable[Claim]) -> set[UUID]:
    """Update the rows that these claims still own, and give their ids."""
    by_attempt: dict[int, list[UUID]] = defaultdict(list)
    for claim in claims:
        by_attempt[claim.attempt].append(claim.id)
    owned: set[UUID] = set()
    with connection.cursor() as cursor:
        for attempt, ids in by_attempt.items():
            condition, parameter = dialect.one_of("id", ids)
            cursor.execute(
                f"UPDATE {_TABLE} SET {assignments}"  # noqa: S608 -- our own words and placeholders
                f" WHERE status = %s AND attempt_count = %s AND {condition} RETURNING id",
                [*map(dialect.write, values), Status.SENDING, attempt, *parameter],
            )
            if cursor.rowcount == len(ids):
                owned.update(ids)
            else:
                owned.update(dialect.read_id(row[0]) for row in cursor.fetchall())
    return owned


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
