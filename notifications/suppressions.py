"""Suppressions: who must not be written to, per channel."""

import time
from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser

from notifications import clock
from notifications.models import Suppression
from notifications.reports import Report, printable

Reason = Suppression.Reason
Scope = Suppression.Scope

NONE_FOR = 1.0  # seconds for which a process believes that a channel has no suppression at all
ANY_FOR = 60.0  # seconds for which it believes that there are some, which costs a query per batch

_has_any: dict[str, float] = {}  # until when it is believed of a channel that it has some
_has_none: dict[str, float] = {}  # and until when, that it has none


def comparable(channel: str, recipient: str) -> str:
    """Give a recipient as it is compared: mail addresses without regard to case."""
    return recipient.lower() if channel == "email" else recipient


def among(channel: str, recipients: Collection[str]) -> dict[tuple[str, bool], str]:
    """Find who of these is suppressed: reason by (recipient, whether for marketing only).

    Costs nothing while the channel has no suppression at all.
    """
    if not _any_for(channel):
        return {}
    forms = {comparable(channel, recipient): recipient for recipient in recipients}
    rows = Suppression.objects.filter(
        channel=channel, recipient__in=list(forms), lifted_at__isnull=True
    ).values_list("recipient", "scope", "reason")
    found = {(recipient, scope == Scope.MARKETING): reason for recipient, scope, reason in rows}
    return {
        (recipient, marketing): found[comparable(channel, recipient), marketing]
        for recipient in recipients
        for marketing in (False, True)
        if (comparable(channel, recipient), marketing) in found
    }


def reason(channel: str, recipient: str, *, marketing: bool) -> str:
    """Say why a recipient is suppressed, ``""`` if it is not."""
    return reason_in(among(channel, [recipient]), recipient, marketing=marketing)


def reason_in(found: dict[tuple[str, bool], str], recipient: str, *, marketing: bool) -> str:
    """Look a recipient up in what ``among`` gave."""
    everything = found.get((recipient, False), "")
    return everything or (found.get((recipient, True), "") if marketing else "")


def suppress(
    channel: str,
    recipient: str,
    reason: str,
    *,
    scope: str = Scope.EVERYTHING,
    source: str = "",
    detail: str = "",
    notification_id: UUID | None = None,
    by: AbstractBaseUser | None = None,
) -> None:
    """Suppress a recipient; one that is suppressed already stays so, for its first reason."""
    _keep(
        [
            Suppression(
                channel=channel,
                recipient=comparable(channel, recipient),
                scope=scope,
                reason=reason,
                source=source,
                detail=printable(detail),
                notification_id=notification_id,
                created_at=clock.now(),
                created_by_id=by.pk if by else None,
            )
        ]
    )


def lift(suppressions: Iterable[Suppression], *, by: AbstractBaseUser | None = None) -> int:
    """Lift suppressions, which stay as history; gives how many were in force."""
    ids = [suppression.pk for suppression in suppressions]
    return Suppression.objects.filter(pk__in=ids, lifted_at__isnull=True).update(
        lifted_at=clock.now(), lifted_by=by
    )


def keep_invalid(reports: Sequence[Report]) -> None:
    """Suppress the recipients that a provider called dead; part of ``outcomes.record``."""
    _keep(
        [
            Suppression(
                channel=report.claim.channel,
                recipient=comparable(report.claim.channel, report.claim.recipient),
                reason=dead(report.claim.channel),
                source=report.provider,
                detail=printable(f"{report.outcome.code} {report.outcome.detail}".strip()),
                notification_id=report.claim.id,
                created_at=clock.now(),
            )
            for report in reports
            if report.outcome.reason == "invalid_recipient"
        ]
    )


def dead(channel: str) -> Reason:
    """Name the reason for an address that does not exist (any more)."""
    return Reason.INVALID_TOKEN if channel == "push" else Reason.HARD_BOUNCE


def _keep(rows: list[Suppression]) -> None:
    if rows:
        Suppression.objects.bulk_create(rows, ignore_conflicts=True)
        forget()


def forget() -> None:
    """Look again at the next use."""
    _has_any.clear()
    _has_none.clear()


def _any_for(channel: str) -> bool:
    now = time.monotonic()
    if _has_none.get(channel, 0.0) > now:
        return False
    if _has_any.get(channel, 0.0) > now:
        return True
    found = Suppression.objects.filter(channel=channel, lifted_at__isnull=True).exists()
    if found:
        _has_any[channel] = now + ANY_FOR
    else:
        _has_none[channel] = now + NONE_FOR
    return found
