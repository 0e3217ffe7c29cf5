"""Delivery, written once for N claims; one is the case N = 1.

Expire, suppress, render, assign, send, record. Each step before the sending returns a plan, and
``InHand.apply`` writes it. No transaction is open between claim and record. An exception costs
the message that it came from, with the stage named; the others go on.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from notifications.channels import CHANNELS
from notifications.channels.base import Content
from notifications.core.attempt import Claim, Outcome, Report, Result, faulted
from notifications.core.reasons import Reason
from notifications.core.retry import SUSPECT_AFTER
from notifications.core.world import World
from notifications.db import clock
from notifications.delivery import chain_steps, digest_contents, mail_parts
from notifications.delivery.in_hand import InHand
from notifications.delivery.outcomes import Recorded
from notifications.delivery.plan import Plan, Ready
from notifications.delivery.sending import send_batch
from notifications.models import Status
from notifications.queueing.making_way import Slot
from notifications.recipients import (
    categories,
    lookup,
    open_pixels,
    own_links,
    preferences,
    suppressions,
    unsubscribe_links,
    windows,
)
from notifications.recipients.categories import Kind
from notifications.recipients.lookup import Person, Whom
from notifications.recipients.places import Place
from scheduling import isolation
from scheduling.isolation import Fault
from templates_engine import catalog
from templates_engine.conf import rendering_settings
from templates_engine.errors import TemplateError
from templates_engine.models import Category
from templates_engine.sms import sendable


def deliver(
    claims: list[Claim],
    *,
    worker: str,
    slot: Slot | None = None,
    follow: Callable[[list[Recorded]], object] = lambda _: None,
) -> list[Recorded]:
    """Bring each claim to an outcome, and return what was recorded.

    All claims are of one queue, so of one channel. ``slot`` is the worker's slot that is held. If
    other messages want it, a background thread goes on with the batch, and calls ``follow`` with
    what it recorded.

    Messages that must wait, and those that the slot's time does not suffice for, are deferred.
    Suspects (messages that several workers died with) are sent last and one at a time, so that a
    message that crashes its worker does not crash the rest of the batch.
    """
    batch = InHand(worker, slot, follow)
    batch.take(claims)
    suspects = [claim for claim in claims if claim.losses >= SUSPECT_AFTER]
    if len(suspects) > 1:
        batch.defer([(claim, clock.now()) for claim in suspects[1:]], Reason.SUSPECT)
    if len(claims) > len(suspects):
        _isolated([claim for claim in claims if claim.losses < SUSPECT_AFTER], batch)
    _isolated(suspects[:1], batch)
    return batch.recorded


def _isolated(claims: list[Claim], batch: InHand) -> None:
    """Deliver claims; if that raises, deliver each half of those without an outcome, down to one.

    What a provider was given, and has no outcome, ends as if its worker were lost.
    """
    faults = isolation.halving(
        claims,
        lambda part: batch.wait_out(lambda: _deliver(batch.left(part), batch)),
        stage=lambda: batch.stage,
        key=_id_of,
    )
    now = clock.now()
    untried = {claim.id: fault for claim, fault in faults}
    batch.record([faulted(c, untried[c.id], now) for c in batch.left(c for c, _ in faults)])
    unknown = batch.left(claims, handed=True)
    unrecorded = Fault("send", "NoOutcome", "")
    batch.record([faulted(c, untried.get(c.id, unrecorded), now, handed=True) for c in unknown])


def _id_of(claim: Claim) -> object:
    return claim.id


def _deliver(claims: list[Claim], batch: InHand) -> None:
    if not claims:
        return
    batch.stage = "expire"
    batch.apply(_expire(claims, clock.now()))
    batch.stage = "suppress"
    left = batch.left(claims)
    people = lookup.known((c.world, c.recipient_key) for c in left if c.recipient_key)
    batch.apply(_suppress(left, people))
    batch.apply(_outside_windows(batch.left(claims), people))
    batch.apply(chain_steps.plan(batch.left(claims)))
    batch.stage = "render"
    filled, plan = digest_contents.fill(batch.left(claims))
    batch.apply(plan)
    ready, plan = _render(filled)
    batch.apply(plan)
    send_batch(ready, batch)  # assign, apply, send, record


def _expire(claims: list[Claim], now: datetime) -> Plan:
    """Plan to end what expired before it was sent."""
    plan = Plan()
    for claim in claims:
        if claim.expires_by(now):
            plan.end[Status.EXPIRED, Reason.EXPIRED].append(claim)
    return plan


People = Mapping[Whom, Person]  # the stored recipients of a batch, read once


def _suppress(claims: list[Claim], people: People) -> Plan:
    """Plan to end messages whose recipient is suppressed, refuses them or is deleted by now."""
    plan = Plan()
    recipients: dict[World, set[str]] = defaultdict(set)
    for claim in claims:
        recipients[claim.world].add(claim.recipient)
    found = {
        world: suppressions.among(claims[0].channel, addresses, world=world)
        for world, addresses in recipients.items()
    }
    for claim in claims if any(found.values()) else _addressed_by_id(claims):
        is_marketing = _template_of(claim).category == Category.MARKETING
        kind = _kind_of(claim)
        reason = suppressions.reason_in(
            found[claim.world],
            claim.recipient,
            marketing=is_marketing or claim.category == categories.MARKETING,
            required=kind is not None and kind.required,
        )
        if claim.recipient_key and not reason:
            person = people.get((claim.world, claim.recipient_key))
            reason = Reason.RECIPIENT_DELETED
            if person is not None:
                reason = preferences.held_by(kind, claim.channel, person.choices)
        if reason:
            plan.end[Status.SUPPRESSED, reason].append(claim)
    return plan


def _outside_windows(claims: list[Claim], people: People) -> Plan:
    """Plan to defer messages whose delivery window has closed since they were accepted.

    What goes by another channel because its window opens too late waits for no other window.
    """
    plan = Plan()
    if not any(map(windows.has_any, {claim.world for claim in claims})):
        return plan
    began, now = time.monotonic(), clock.now()
    for claim in claims:
        if claim.reason == Reason.OTHER_CHANNEL:
            continue
        step, opens = _window_step(claim, people, now)
        if step is not windows.Step.GO and windows.renew(claim.world, began):
            step, opens = _window_step(claim, people, now)
        if step is windows.Step.WAIT and opens is not None:
            plan.defer[Reason.WINDOW_CLOSED].append((claim, opens))
        elif step is not windows.Step.GO:  # another channel is chosen at acceptance alone
            plan.end[Status.EXPIRED, Reason.WINDOW_CLOSED].append(claim)
    return plan


def _window_step(claim: Claim, people: People, now: datetime) -> windows.Plan:
    """Return what its delivery window makes of a message now."""
    window = windows.of(claim.world, _kind_of(claim), _template_of(claim).name)
    if window is None:
        return windows.GO
    person = people.get((claim.world, claim.recipient_key))
    place = person.place if person else Place()
    return windows.plan(
        *(window, place, claim.chain_run or claim.id),
        channel=claim.channel,
        due_at=now,
        expires_at=claim.expires_at,
    )


def _kind_of(claim: Claim) -> Kind | None:
    is_marketing = _template_of(claim).category == Category.MARKETING
    return categories.kind_of(claim.category, claim.world, is_marketing=is_marketing)


def _addressed_by_id(claims: list[Claim]) -> list[Claim]:
    """Return those that go to a stored recipient, who may have chosen."""
    return [claim for claim in claims if claim.recipient_key]


def _render(claims: list[Claim]) -> tuple[list[Ready], Plan]:
    """Return each message's content, and the outcomes of those that cannot be rendered."""
    ready = []
    plan = Plan()
    faults = []
    parts = mail_parts.of(claims)
    for claim in claims:
        try:
            ready.append(_ready(claim, parts))
        except TemplateError as error:
            plan.record.append(_refused(claim, error))
        except Exception as error:
            if isolation.concerns_everybody(error):
                raise
            faults.append((claim, isolation.fault_of(error, "render")))
    isolation.log_faults(faults, _id_of)
    now = clock.now()
    plan.record += [faulted(claim, fault, now) for claim, fault in faults]
    return ready, plan


def _refused(claim: Claim, error: TemplateError) -> Report:
    outcome = Outcome(
        Result.PERMANENT, code=type(error).__name__, reason=Reason.RENDER_ERROR, detail=str(error)
    )
    return Report(claim, outcome, provider="", started_at=clock.now())


def _ready(claim: Claim, parts: mail_parts.Parts) -> Ready:
    if claim.template_version_id is None:
        return Ready(claim, _with_options(claim, parts.added(claim, _own_text(claim))))
    version = catalog.version(claim.template_version_id)
    is_list_mail = version.category == Category.MARKETING and claim.channel == "email"
    to = (claim.channel, claim.recipient)
    links = own_links.of(
        version, claim.id, to, claim.world, claim.recipient_key, is_list_mail=is_list_mail
    )
    content: Content = version.render(claim.context, claim.locale or None, links)
    if is_list_mail:
        headers = unsubscribe_links.headers(links.unsubscribe_url)
        content = {**content, "headers": headers, "list": version.template_name}
    content = parts.added(claim, content)
    return Ready(claim, _with_options(claim, content), version.template_name)


def _with_options(claim: Claim, content: Content) -> Content:
    if not claim.options:
        return content
    if claim.options.get("open_pixel") and "html" in content:
        content = {**content, "html": open_pixels.added(str(content["html"]), claim.id)}
    return {**content, "options": claim.options}


def _own_text(claim: Claim) -> Content:
    body = claim.body
    if claim.channel == "sms":
        body = sendable(body, keep_typography=rendering_settings()["keep_typography"])
    return CHANNELS[claim.channel].own_content(claim.subject, body)


class _Template(NamedTuple):
    name: str
    category: str


def _template_of(claim: Claim) -> _Template:
    if claim.template_version_id is None:
        return _Template("", "")
    version = catalog.version(claim.template_version_id)
    return _Template(version.template_name, version.category)
