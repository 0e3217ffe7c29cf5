"""Rules: checked the same whether a form, the API or Python saves them."""

from typing import Any

from notifications.channels import CHANNELS
from notifications.core.errors import InvalidField, UnknownTemplate
from notifications.core.routing import PRIORITIES
from notifications.core.text import can_be_kept, shown
from notifications.core.world import World
from notifications.events import expression_types, expressions
from notifications.events.expressions import BadExpression
from notifications.models.event import (
    EVENT_NAME_HINT,
    LONGEST_DELAY,
    LONGEST_NAME,
    EventRule,
    is_event_name,
)
from notifications.recipients import categories
from notifications.submission import projects
from templates_engine import catalog
from templates_engine.errors import TemplateError

FIELDS = (
    *("name", "enabled", "event", "condition", "channel", "recipients", "to", "template"),
    *("context", "category", "delay", "priority", "cancel_on", "match", "cancel_match"),
)
EXPRESSIONS = ("condition", "recipients", "to", "match", "cancel_match")


def check(rule: EventRule) -> None:
    """Check a rule. Raises ``InvalidNotification``, which names the field."""
    projects.check(rule.project)
    if not rule.name or len(rule.name) > LONGEST_NAME or not can_be_kept(rule.name):
        raise InvalidField(
            f"A rule needs a name of at most {LONGEST_NAME} characters.", field="name"
        )
    _check_event(rule.event, "event")
    if rule.cancel_on:
        _check_event(rule.cancel_on, "cancel_on")
        if rule.cancel_on == rule.event:
            raise InvalidField("An event cannot cancel what it causes.", field="cancel_on")
        if not rule.match:
            raise InvalidField(
                "Say by which value the cancelling event is recognised.",
                field="match",
                hint="An expression over both events' data, like data.invoice.",
            )
    elif rule.match or rule.cancel_match:
        field = "match" if rule.match else "cancel_match"
        raise InvalidField(
            "It is used only with cancel_on: name the cancelling event, or leave it empty.",
            field=field,
        )
    if not rule.recipients and not rule.to:
        raise InvalidField(
            "Name the recipients by an expression, like data.customer.email.", field="recipients"
        )
    if rule.recipients and rule.to:
        raise InvalidField(
            "The rule names addresses already: leave recipients or to empty.", field="to"
        )
    if rule.category:
        categories.require(rule.category, World(rule.project, rule.test))
    for field in EXPRESSIONS:
        _check_expression(getattr(rule, field), field)
    _check_context(rule.context)
    if not isinstance(rule.delay, int) or not 0 <= rule.delay <= LONGEST_DELAY:
        raise InvalidField("The delay must be from 0 seconds to ten years.", field="delay")
    if rule.priority not in PRIORITIES:
        raise InvalidField(f"It must be one of: {', '.join(PRIORITIES)}.", field="priority")
    _check_template(rule)


def _check_event(name: str, field: str) -> None:
    if not is_event_name(name):
        raise InvalidField(
            f"An event has no name like {shown(name)}.", field=field, hint=EVENT_NAME_HINT
        )


def _check_expression(expression: str, field: str) -> None:
    if not expression:
        return
    try:
        expressions.check(expression)
        expression_types.check(expression, field)
    except BadExpression as error:
        raise InvalidField(f"The expression is not valid. {error}", field=field) from None


def _check_context(context: Any) -> None:
    if not isinstance(context, dict):
        raise InvalidField("It must be an object of expressions.", field="context")
    for name, expression in context.items():
        field = f"context.{name}"
        if not isinstance(expression, str) or not expression:
            raise InvalidField("It must be an expression.", field=field, hint="Like data.amount.")
        _check_expression(expression, field)


def _check_template(rule: EventRule) -> None:
    if rule.channel not in CHANNELS:
        raise InvalidField(f"It must be one of: {', '.join(CHANNELS)}.", field="channel")
    try:
        version = catalog.published(rule.template, World(rule.project, rule.test).namespaces)
    except TemplateError as error:
        raise UnknownTemplate(str(error), field="template", hint=error.hint) from None
    if version.channel != rule.channel:
        raise UnknownTemplate(f"This template is for {version.channel}.", field="template")
