"""Emitting an event: the event, what it causes and what it cancels are one transaction.

So an event that was accepted has caused exactly its notifications, whoever dies when; one that was
not accepted has caused nothing, and is emitted again with the same key.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Coalesce, Least, Now

from notifications.core.errors import IdempotencyConflict, InvalidField
from notifications.core.text import can_be_kept, printable, shown
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.db import clock, dialect
from notifications.db.bulk_insert import Table
from notifications.events import effects
from notifications.events.effects import Outcome, Plan
from notifications.models import (
    UNFINISHED,
    Event,
    EventEffect,
    EventRule,
    Notification,
    Status,
)
from notifications.models.event import EVENT_NAME_HINT, is_event_name
from notifications.submission import acceptance, cancel, field_types, projects
from notifications.submission.building import Answer, Asked
from scheduling import watch

LARGEST_DATA = 64_000  # characters of JSON
LONGEST_KEY = 255

_EVENTS = Table(Event)

Cancellation = EventEffect.Cancellation
Match = tuple[EventRule, str]  # a rule whose sends are cancelled, and the value that tells which


@dataclass(frozen=True, slots=True)
class Emission:
    """An event that was accepted: ``created`` is false where it was there already."""

    event: Event
    created: bool

    @property
    def id(self) -> UUID:
        """Return the event's id."""
        return self.event.pk

    @property
    def notifications(self) -> list[UUID]:
        """Return the ids of the notifications that it has caused."""
        effects_ = EventEffect.objects.filter(event=self.event).order_by("pk")
        ids = effects_.values_list("notification_id", flat=True)
        return [id_ for id_ in ids if id_ is not None]


def emit(
    name: str,
    data: Mapping[str, Any] | None = None,
    *,
    key: str = "",
    project: str = DEFAULT_PROJECT,
    test: bool = False,
) -> Emission:
    """Accept an event, and with it all that the rules of its project make of it.

    With a ``key`` that was used, the first event is given back. Raises ``IdempotencyConflict`` if
    that one was another, and another subclass of ``InvalidNotification`` for bad input. What one
    rule or one recipient is refused for stands in the event's effects, and stops no other.
    """
    event = _read(name, data, key, World(projects.check(project), test))
    return watch.past_brief(lambda: _accept(event))


def _accept(event: Event) -> Emission:
    with transaction.atomic():
        if not _EVENTS.insert([_row(event)], skip_taken=True):
            return Emission(_first(event), created=False)
        rules = _rules_of(event)
        starting = [
            effects.plan(rule, event) for rule in rules if rule.event == event.name and rule.enabled
        ]
        cancelling = [
            (rule, match)
            for rule in rules
            if rule.cancel_on == event.name and (match := effects.cancelling_match(rule, event))
        ]
        _take_turns(starting, cancelling, event)
        _cancel(cancelling, event)
        _cause(starting, event)
    return Emission(event, created=True)


def _read(name: object, data: object, key: object, world: World) -> Event:
    if not isinstance(name, str) or not is_event_name(name):
        raise InvalidField(
            f"An event has no name like {shown(name)}.", field="name", hint=EVENT_NAME_HINT
        )
    if not isinstance(key, str) or len(key) > LONGEST_KEY or not can_be_kept(key):
        raise InvalidField(f"A key must be text of at most {LONGEST_KEY} characters.", field="key")
    if data is not None and not isinstance(data, Mapping):
        raise InvalidField("The data must be a JSON object.", field="data")
    kept = field_types.json_object(data, "data")
    text = json.dumps(kept, sort_keys=True)
    if len(text) > LARGEST_DATA:
        raise InvalidField(f"The data is larger than {LARGEST_DATA} characters.", field="data")
    digest = blake2b(f"{name} {text}".encode(), digest_size=16).hexdigest()
    return Event(
        **world.columns,
        name=name,
        key=key,
        data=kept,
        content_hash=digest,
        created_at=clock.now(),
    )


def _row(event: Event) -> dict[str, Any]:
    names = [column.attname for column in Event._meta.concrete_fields]
    return {name: getattr(event, name) for name in names}


def _first(event: Event) -> Event:
    """Return the event that has used this key. Raises ``IdempotencyConflict``."""
    first = Event.objects.get(**event.world.columns, key=event.key)
    if first.content_hash != event.content_hash:
        raise IdempotencyConflict(
            "This key was used before, for another event.",
            field="key",
            hint="Use a new key for a new event.",
        )
    return first


def _rules_of(event: Event) -> list[EventRule]:
    """Return the rules that an event causes, and those whose sends it cancels.

    A rule that is switched off causes nothing, and what it has caused can still be cancelled.
    The event of a test causes what is live, too, as a test.
    """
    started = Q(event=event.name, enabled=True)
    rules = EventRule.objects.filter(started | Q(cancel_on=event.name), project=event.project)
    if not event.test:
        rules = rules.filter(test=False)
    return list(rules.order_by("pk"))


def _take_turns(starting: Sequence[Plan], cancelling: Sequence[Match], event: Event) -> None:
    """Wait for other events about the same matter, so that one of two comes first."""
    matters = {(plan.rule.pk, plan.match) for plan in starting if plan.match}
    matters |= {(rule.pk, match) for rule, match in cancelling}
    dialect.take_turns(f"event {event.test} {rule} {match}" for rule, match in matters)


def _cancel(cancelling: Sequence[Match], event: Event) -> None:
    """Cancel what waits of the sends that an event cancels."""
    for rule, match in cancelling:
        open_ = EventEffect.objects.filter(
            rule=rule, match=match, outcome=Outcome.CAUSED, cancellation="", event__test=event.test
        )
        effects_of = dict(open_.values_list("notification_id", "pk"))
        unfinished = Notification.objects.filter(
            pk__in=list(effects_of), status__in=UNFINISHED
        ).values_list("pk", flat=True)
        ended = defaultdict(list)
        for id_ in unfinished.order_by("pk"):
            ended[_call_off(id_)].append(effects_of[id_])
        for cancellation, effects_ in ended.items():
            EventEffect.objects.filter(pk__in=effects_).update(
                cancellation=cancellation, cancelled_by=event
            )


def _call_off(id_: UUID) -> Cancellation:
    """Cancel a notification, or see to it that a worker that is sending it does not try again."""
    while not (tried := cancel(id_)):
        if tried.status not in UNFINISHED:
            return Cancellation.TOO_LATE
        sending = Notification.objects.filter(pk=id_, status=Status.SENDING)
        if sending.update(expires_at=Least(Coalesce("expires_at", Now()), Now())):
            return Cancellation.TOO_LATE
        # Zero rows: its attempt has just ended, and perhaps it waits for the next one.
    return Cancellation.CANCELLED


def _cause(plans: Sequence[Plan], event: Event) -> None:
    """Submit what the rules have planned, and write what became of it."""
    sends = [(plan, fields) for plan in plans for fields in plan.sends]
    answers = acceptance.accept_many([Asked(fields) for _, fields in sends]) if sends else []
    rows = [_effect(plan, event, answer) for (plan, _), answer in zip(sends, answers, strict=True)]
    rows += [_effect(plan, event) for plan in plans if not plan.sends]
    EventEffect.objects.bulk_create(rows)


def _effect(plan: Plan, event: Event, answer: Answer | None = None) -> EventEffect:
    effect = EventEffect(
        event=event,
        rule=plan.rule,
        rule_name=plan.rule.name,
        outcome=plan.outcome,
        field=plan.field,
        detail=plan.detail,
        match=plan.match,
    )
    if answer is not None and answer.error is not None:
        effect.outcome = Outcome.REFUSED
        effect.field = printable(answer.error.field)[:255]
        effect.detail = printable(str(answer.error))
    elif answer is not None:
        effect.notification_id = answer.id
    return effect
