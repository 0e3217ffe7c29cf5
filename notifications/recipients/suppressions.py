"""Suppressions: who must not be written to, per channel, by one project and by no other."""

import hmac
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Exists, OuterRef, Q

from notifications.channels import addresses
from notifications.core.attempt import Report, Result
from notifications.core.routing import CHANNELS, ENDPOINT_CHANNELS
from notifications.core.text import printable
from notifications.core.world import LIVE, World
from notifications.db import clock
from notifications.models import ProviderAccount, Suppression

Reason = Suppression.Reason
Scope = Suppression.Scope

HASHED = "hmac-sha256:"  # begins a recipient of whom no more than this is kept

NONE_FOR = 1.0  # seconds to cache "this channel has no suppressions"
ANY_FOR = 60.0  # seconds to cache "this channel has some", which costs a query per batch

_has_any: dict[str, float] = {}  # channel -> until when "it has some" is cached
_has_none: dict[str, float] = {}  # channel -> until when "it has none" is cached


def comparable(channel: str, recipient: str) -> str:
    """Return a recipient as it is compared: mail addresses in one form, without regard to case."""
    if channel != "email":
        return recipient
    try:
        return addresses.canonical(recipient).lower()
    except addresses.BadAddress:  # kept before addresses had one form
        return recipient.lower()


def hashes(channel: str, form: str) -> list[str]:
    """Return a comparable recipient as its suppression keeps it once it was forgotten.

    The first is the one to write; the others are of ``SECRET_KEY_FALLBACKS``.
    """
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    text = f"suppression {channel} {form}".encode()
    return [f"{HASHED}{hmac.digest(key.encode(), text, 'sha256').hex()}" for key in keys]


def _spellings(channel: str, form: str) -> list[str]:
    """Return in which texts a suppression may keep a comparable recipient that is not forgotten.

    The first is the one to write; a mail address was once kept in quotes if it was given so.
    """
    if channel == "email" and "@" in form and (quoted := addresses.quoted(form)) != form:
        return [form, quoted]
    return [form]


def _kept(channel: str, form: str) -> list[str]:
    """Return the spellings of a comparable recipient, and the hashes of each."""
    plain = _spellings(channel, form)
    return [*plain, *(hash_ for spelling in plain for hash_ in hashes(channel, spelling))]


def whose(forms: Iterable[str], channel: str = "") -> Q:
    """Return the condition of the suppressions of a recipient that has these forms.

    It covers those of which a hash was kept. Without a channel it is that of every channel.
    """
    whole = Q()
    for name in [channel] if channel else CHANNELS:
        comparables = {comparable(name, form) for form in forms}
        kept = {text for form in comparables for text in _kept(name, form)}
        whole |= Q(channel=name, recipient__in=kept)
    return whole


def among(
    channel: str, recipients: Collection[str], *, world: World = LIVE
) -> dict[tuple[str, bool], str]:
    """Find who of these is suppressed: reason by (recipient, whether for marketing only).

    Costs nothing while the channel has no suppression at all.
    """
    if not _any_for(channel):
        return {}
    forms = {recipient: comparable(channel, recipient) for recipient in recipients}
    kept = {text: form for form in {*forms.values()} for text in _kept(channel, form)}
    rows = Suppression.objects.filter(
        **world.columns,
        channel=channel,
        recipient__in=[*kept],
        lifted_at__isnull=True,
    ).values_list("recipient", "scope", "reason")
    found: dict[tuple[str, bool], str] = {}
    for recipient, scope, reason in rows:
        key = kept[recipient], scope == Scope.MARKETING
        # Of several in force one that holds back what cannot be refused, too.
        if found.get(key, Reason.UNSUBSCRIBED) == Reason.UNSUBSCRIBED:
            found[key] = reason
    return {
        (recipient, marketing): found[form, marketing]
        for recipient, form in forms.items()
        for marketing in (False, True)
        if (form, marketing) in found
    }


def reason(channel: str, recipient: str, *, marketing: bool, world: World = LIVE) -> str:
    """Return why a recipient is suppressed, ``""`` if it is not."""
    return reason_in(among(channel, [recipient], world=world), recipient, marketing=marketing)


def reason_in(
    found: dict[tuple[str, bool], str], recipient: str, *, marketing: bool, required: bool = False
) -> str:
    """Look a recipient up in what ``among`` gave.

    What is ``required`` cannot be unsubscribed from.
    """
    everything = found.get((recipient, False), "")
    if required and everything == Reason.UNSUBSCRIBED:
        everything = ""
    return everything or (found.get((recipient, True), "") if marketing else "")


def suppress(  # noqa: PLR0913 -- a column each
    channel: str,
    recipient: str,
    reason: str,
    *,
    world: World = LIVE,
    scope: str = Scope.EVERYTHING,
    source: str = "",
    detail: str = "",
    notification_id: UUID | None = None,
    account: str = "",
    by: AbstractBaseUser | None = None,
) -> None:
    """Suppress a recipient; one that is suppressed already stays so, for its first reason.

    With an ``account``, that of a number which was answered STOP, beside what there is.
    """
    _keep(
        [
            Suppression(
                **world.columns,
                channel=channel,
                recipient=comparable(channel, recipient),
                scope=scope,
                reason=reason,
                source=source,
                account=account,
                detail=printable(detail),
                notification_id=notification_id,
                created_at=clock.now(),
                created_by_id=by.pk if by else None,
            )
        ]
    )


def lift(suppressions: Iterable[Suppression], *, by: AbstractBaseUser | None = None) -> int:
    """Lift suppressions, which stay as history; return how many were in force."""
    ids = [suppression.pk for suppression in suppressions]
    return Suppression.objects.filter(pk__in=ids, lifted_at__isnull=True).update(
        lifted_at=clock.now(), lifted_by=by
    )


def keep_invalid(reports: Sequence[Report]) -> None:
    """Suppress the recipients that a provider called dead; part of ``outcomes.record``.

    Reports of one channel.
    """
    if reports and reports[0].claim.channel in ENDPOINT_CHANNELS:
        took: dict[World, set[str]] = defaultdict(set)
        for report in reports:
            if report.outcome.result is Result.SENT:
                took[report.claim.world].add(report.claim.recipient)
        for world, recipients in took.items():
            lift_answering(reports[0].claim.channel, recipients, world=world)
    _keep(
        [
            Suppression(
                **report.claim.world.columns,
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


def lift_answering(
    channel: str, recipients: Collection[str], *, world: World | None = None
) -> None:
    """Enable endpoints that took a call, should they be disabled since they once said 410.

    Without a ``world`` they are enabled for every project.
    """
    if recipients and channel in ENDPOINT_CHANNELS and _any_for(channel):
        Suppression.objects.filter(
            **(world.columns if world else {"test": False}),
            channel=channel,
            recipient__in=recipients,
            reason=Reason.ENDPOINT_GONE,
            lifted_at__isnull=True,
        ).update(lifted_at=clock.now())


def lift_unsubscribed(
    channel: str, recipient: str, *, scope: str, world: World, source: str = ""
) -> int:
    """Lift what a recipient's unsubscribing has left: they have agreed again. Return how many.

    With a ``source``, lift only what came by this account, or by a deleted account.
    """
    rows = Suppression.objects.filter(
        **world.columns,
        channel=channel,
        recipient__in=_spellings(channel, comparable(channel, recipient)),
        scope=scope,
        reason=Reason.UNSUBSCRIBED,
        lifted_at__isnull=True,
    )
    if source:
        there = ProviderAccount.objects.filter(name=OuterRef("account"))
        rows = rows.filter(Q(source=source) | (~Q(account="") & ~Exists(there)))
    return rows.update(lifted_at=clock.now())


def is_stopped(channel: str, recipients: Iterable[str], *, world: World) -> bool:
    """Return whether STOP from one of these addresses to some account is in force."""
    forms = {comparable(channel, recipient) for recipient in recipients}
    rows = Suppression.objects.filter(
        **world.columns,
        channel=channel,
        recipient__in=forms,
        scope=Scope.EVERYTHING,
        reason=Reason.UNSUBSCRIBED,
        lifted_at__isnull=True,
    )
    return rows.exclude(account="").exists()


def dead(channel: str) -> Reason:
    """Return the reason for an address that does not exist (any more)."""
    if channel in ENDPOINT_CHANNELS:
        return Reason.ENDPOINT_GONE
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
