"""Delivery, written once for N claims; one is the case N = 1.

Expire, render, send, record. Between claim and record no transaction is open.
"""

import time
from collections.abc import Iterator
from datetime import datetime

from notifications import clock, conf, outcomes, providers
from notifications.channels import CHANNELS
from notifications.channels.base import Content, Message
from notifications.claims import Claim
from notifications.models import Status
from notifications.outcomes import Recorded
from notifications.reports import Report
from notifications.retry import Outcome, Result
from templates_engine import catalog
from templates_engine.errors import TemplateError

RECORD_EVERY = 100  # outcomes; what a crash can double is at most what was not yet recorded
RECORD_AFTER = 0.5  # seconds


def deliver(claims: list[Claim], *, worker: str) -> list[Recorded]:
    """Bring these claims to an outcome each, and give what was recorded.

    Claims of one queue, so of one channel. Those that the slot's time does not suffice for are
    given back untried.
    """
    if not claims:
        return []
    now = clock.now()
    stale = [c for c in claims if c.expires_at is not None and c.expires_at <= now]
    outcomes.finish(stale, Status.EXPIRED, "expired")
    messages, broken = _render([c for c in claims if c.expires_at is None or c.expires_at > now])
    recorded = outcomes.record(broken, worker=worker) if broken else []
    return recorded + _send(messages, worker)


def _render(claims: list[Claim]) -> tuple[list[tuple[Claim, Message]], list[Report]]:
    """Make each claim's message; one that cannot be rendered fails alone."""
    messages = []
    broken = []
    for claim in claims:
        try:
            messages.append((claim, _message(claim, _content(claim))))
        except TemplateError as error:
            outcome = Outcome(
                Result.PERMANENT,
                code=type(error).__name__,
                reason="render_error",
                detail=str(error),
            )
            broken.append(Report(claim, outcome, provider="", started_at=clock.now()))
    return messages, broken


def _content(claim: Claim) -> Content:
    if claim.template_version_id is not None:
        version = catalog.version(claim.template_version_id)
        return version.render(claim.context, claim.locale or None)
    channel = CHANNELS[claim.channel]
    content = {channel.body_part: claim.body}
    if channel.subject_part:
        content[channel.subject_part] = claim.subject
    return content


def _message(claim: Claim, content: Content) -> Message:
    return Message(
        id=claim.id,
        channel=claim.channel,
        recipient=claim.recipient,
        content=content,
        attempt=claim.attempt,
        timeout=conf.get("PROVIDER_TIMEOUT"),
        expires_at=claim.expires_at,
        metadata=claim.metadata,
    )


def _send(messages: list[tuple[Claim, Message]], worker: str) -> list[Recorded]:
    """Hand the messages over while the slot's time lasts, recording as it goes."""
    if not messages:
        return []
    provider = providers.for_channel(messages[0][1].channel)
    handed: list[tuple[Claim, datetime]] = []
    ends = time.monotonic() + conf.get("HOLD")

    def feed() -> Iterator[Message]:
        for claim, message in messages:
            if handed and time.monotonic() > ends:
                return
            handed.append((claim, clock.now()))
            yield message

    recorded: list[Recorded] = []
    reports: list[Report] = []
    record_at = time.monotonic() + RECORD_AFTER
    for index, outcome in enumerate(provider.send_many(feed())):
        claim, started_at = handed[index]
        reports.append(Report(claim, outcome, provider.name, started_at))
        if len(reports) >= RECORD_EVERY or time.monotonic() > record_at:
            recorded += outcomes.record(reports, worker=worker)
            reports = []
            record_at = time.monotonic() + RECORD_AFTER
    if reports:
        recorded += outcomes.record(reports, worker=worker)
    unsent = [claim for claim, _ in messages[len(handed) :]]
    outcomes.put_back(unsent, clock.now(), "slot_time_over")
    return recorded
