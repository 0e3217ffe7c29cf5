"""What the rules make of one event: pure of the database, so that it is told before it is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from notifications.channels import CHANNELS
from notifications.core.errors import MalformedRecipient
from notifications.core.text import can_be_kept, printable
from notifications.events import expressions
from notifications.events.expressions import BadExpression
from notifications.models import Event, EventEffect, EventRule
from notifications.models.event import LONGEST_MATCH

MOST_RECIPIENTS = 1000  # of one rule and one event

Outcome = EventEffect.Outcome


@dataclass(slots=True)
class Plan:
    """What one rule makes of an event: the fields of notifications, or why there are none."""

    rule: EventRule
    outcome: Outcome
    field: str = ""
    detail: str = ""
    match: str = ""
    sends: Sequence[dict[str, Any]] = ()


class _Refused(Exception):
    """A rule can make nothing of this event: which field of the rule, and why."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


def plan(rule: EventRule, event: Event) -> Plan:
    """Return what a rule makes of an event. Never raises: a rule's fault is its own."""
    try:
        if rule.condition and not _condition(rule, event):
            return Plan(rule, Outcome.UNMET)
        match = match_of(rule.match, event) if rule.cancel_on else ""
        common = _common_fields(rule, event)
        sends = [{**common, **recipient} for recipient in _whom(rule, event)]
        return Plan(rule, Outcome.CAUSED, match=match, sends=sends)
    except _Refused as refused:
        return Plan(rule, Outcome.REFUSED, refused.field, str(refused))


def match_of(expression: str, event: Event) -> str:
    """Return the value by which a cancelling event is recognised. Raises ``_Refused``."""
    value = _value("match", expression, event)
    if value is None or isinstance(value, dict | list):
        raise _Refused("match", "It must give text or a number.")
    text = str(value)
    if isinstance(value, float) and value.is_integer():
        digits = str(int(value))  # numbers that are equal are one value
        text = digits if len(digits) <= LONGEST_MATCH else text
    if not 0 < len(text) <= LONGEST_MATCH or not can_be_kept(text):
        raise _Refused("match", f"It gives no text of at most {LONGEST_MATCH} characters.")
    return text


def cancelling_match(rule: EventRule, event: Event) -> str:
    """Return what an event that cancels matches; "" where it gives nothing."""
    try:
        return match_of(rule.cancel_match or rule.match, event)
    except _Refused:
        return ""


def _condition(rule: EventRule, event: Event) -> bool:
    value = _value("condition", rule.condition, event)
    if not isinstance(value, bool):
        raise _Refused("condition", "It must give true or false.")
    return value


def _whom(rule: EventRule, event: Event) -> list[dict[str, Any]]:
    """Return the fields that say whom a rule writes to, each once; submission checks them."""
    first: dict[Any, Any] = {}
    if rule.to:
        for value in _values("to", rule.to, event, (str, int)):
            key = _whole(value)
            first.setdefault(key if isinstance(key, str) else object(), {"to": {"recipient": key}})
    else:
        for address in _values("recipients", rule.recipients, event, (str,)):
            first.setdefault(_address(rule.channel, address), {"recipient": address})
    return list(first.values())


def _values(field: str, expression: str, event: Event, kinds: tuple[type, ...]) -> list[Any]:
    value = _value(field, expression, event)
    if not isinstance(value, (*kinds, list)) or isinstance(value, bool):
        what = "an id or a list of ids" if field == "to" else "text or a list of texts"
        raise _Refused(field, f"It must give {what}.")
    found = value if isinstance(value, list) else [value]
    if not found:
        raise _Refused(field, "It gives an empty list, so nobody is written to.")
    if len(found) > MOST_RECIPIENTS:
        raise _Refused(field, f"There are more than {MOST_RECIPIENTS} recipients.")
    return found


def _whole(key: Any) -> Any:
    """Return an id as text: the number 7 and the text "7" are one recipient's."""
    is_whole = isinstance(key, int) and not isinstance(key, bool)
    return str(int(key)) if is_whole else key


def _address(channel: str, recipient: Any) -> Any:
    """Return an address as its channel keeps it; what is none differs from every other."""
    if not isinstance(recipient, str):
        return object()
    try:
        return CHANNELS[channel].clean_recipient(recipient) if channel in CHANNELS else recipient
    except MalformedRecipient:
        return recipient


def _common_fields(rule: EventRule, event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {
        **event.world.columns,
        "channel": rule.channel,
        "template": rule.template,
        "context": _context(rule, event),
        "priority": rule.priority,
        "metadata": {"event": str(event.pk), "rule": rule.name},
    }
    if rule.category:
        fields["category"] = rule.category
    if rule.delay:
        fields["countdown"] = rule.delay
    return fields


def _context(rule: EventRule, event: Event) -> dict[str, Any]:
    if not rule.context:
        return dict(event.data)
    return {
        name: _value(f"context.{name}", expression, event)
        for name, expression in rule.context.items()
    }


def _value(field: str, expression: str, event: Event) -> Any:
    try:
        return expressions.evaluate(expression, event.data)
    except BadExpression as error:
        raise _Refused(printable(field)[:255], str(error)) from None
