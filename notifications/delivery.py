"""Delivery, written once for N claims; one is the case N = 1.

Expire, suppress, render, then hand over. Between claim and record no transaction is open.
"""

from collections import defaultdict
from typing import NamedTuple

from notifications import clock, outcomes, suppressions, unsubscribe
from notifications.assignment import Ready
from notifications.channels import CHANNELS
from notifications.channels.base import Content
from notifications.claims import Claim
from notifications.handover import hand_over
from notifications.models import Status
from notifications.outcomes import Recorded
from notifications.reports import Report
from notifications.retry import SUSPECT_AFTER, Outcome, Result
from templates_engine import catalog
from templates_engine.errors import TemplateError
from templates_engine.models import Category


def deliver(claims: list[Claim], *, worker: str) -> list[Recorded]:
    """Bring these claims to an outcome each, and give what was recorded.

    Claims of one queue, so of one channel. Those that have to wait, or that the slot's time
    does not suffice for, are given back untried.
    """
    if not claims:
        return []
    if any(claim.losses >= SUSPECT_AFTER for claim in claims):
        return _deliver_apart(claims, worker)
    return _deliver(claims, worker)


def _deliver_apart(claims: list[Claim], worker: str) -> list[Recorded]:
    """Deliver one of those that were lost with several workers, after the others and alone.

    What kills workers shall take nobody along; what was only beside it gets through.
    """
    suspects = [claim for claim in claims if claim.losses >= SUSPECT_AFTER]
    outcomes.put_back([(claim, clock.now()) for claim in suspects[1:]], "suspect")
    others = [claim for claim in claims if claim.losses < SUSPECT_AFTER]
    return [*_deliver(others, worker), *_deliver(suspects[:1], worker)]


def _deliver(claims: list[Claim], worker: str) -> list[Recorded]:
    now = clock.now()
    stale = [c for c in claims if c.expires_at is not None and c.expires_at <= now]
    outcomes.finish(stale, Status.EXPIRED, "expired")
    current = _without_suppressed([c for c in claims if c.expires_at is None or c.expires_at > now])
    ready, broken = _render(current)
    recorded = outcomes.record(broken, worker=worker) if broken else []
    return recorded + hand_over(ready, worker=worker)


def _without_suppressed(claims: list[Claim]) -> list[Claim]:
    """End those that became suppressed since they were accepted."""
    if not claims:
        return []
    found = suppressions.among(claims[0].channel, {claim.recipient for claim in claims})
    if not found:
        return claims
    by_reason: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        marketing = _template_of(claim).category == Category.MARKETING
        reason = suppressions.reason_in(found, claim.recipient, marketing=marketing)
        by_reason[reason].append(claim)
    kept = by_reason.pop("", [])
    for reason, suppressed in by_reason.items():
        outcomes.finish(suppressed, Status.SUPPRESSED, reason)
    return kept


def _render(claims: list[Claim]) -> tuple[list[Ready], list[Report]]:
    """Make each claim's content; one that cannot be rendered fails alone."""
    ready = []
    broken = []
    for claim in claims:
        try:
            ready.append(_ready(claim))
        except TemplateError as error:
            outcome = Outcome(
                Result.PERMANENT,
                code=type(error).__name__,
                reason="render_error",
                detail=str(error),
            )
            broken.append(Report(claim, outcome, provider="", started_at=clock.now()))
    return ready, broken


def _ready(claim: Claim) -> Ready:
    if claim.template_version_id is None:
        return Ready(claim, _own_text(claim))
    version = catalog.version(claim.template_version_id)
    content: Content = version.render(claim.context, claim.locale or None)
    if version.category == Category.MARKETING and claim.channel == "email":
        link = unsubscribe.headers(claim.id, claim.channel, claim.recipient)
        content = {**content, "headers": link}
    return Ready(claim, content, version.template_name)


def _own_text(claim: Claim) -> Content:
    channel = CHANNELS[claim.channel]
    content = {channel.body_part: claim.body}
    if channel.subject_part:
        content[channel.subject_part] = claim.subject
    return content


class _Template(NamedTuple):
    name: str
    category: str


def _template_of(claim: Claim) -> _Template:
    if claim.template_version_id is None:
        return _Template("", "")
    version = catalog.version(claim.template_version_id)
    return _Template(version.template_name, version.category)
