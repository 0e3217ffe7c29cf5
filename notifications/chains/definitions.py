"""Chains as data: checked the same whether a form, the API or Python saves them.

A chain is a list of steps, and no step names another: there is nothing that could go round.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from notifications.channels import CHANNELS, mail
from notifications.core.chains import StopOn
from notifications.core.errors import (
    InvalidChain,
    InvalidField,
    InvalidNotification,
    MissingContent,
    UnknownArgument,
    UnknownChain,
    UnknownChannel,
    UnknownPriority,
    UnknownTemplate,
)
from notifications.core.routing import CALLBACK_CHANNEL, PRIORITIES
from notifications.core.text import can_be_kept, shown
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.models.chain import (
    CHAIN_NAME,
    CHAIN_NAME_HINT,
    LONGEST_CHAIN_NAME,
    LONGEST_FAMILY,
    Chain,
)
from notifications.models.recipient import ADDRESSED
from notifications.submission import field_types, projects, requests, validation
from templates_engine import catalog
from templates_engine.errors import TemplateError

FIELDS = ("steps", "stop_on", "template", "expires")
STEP_FIELDS = (
    *("channel", "wait", "template", "subject", "body", "priority", "options"),
    *("recipient", "to", "from_email", "account"),
)
MOST_STEPS = 10
SHORTEST_WAIT, LONGEST_WAIT = 1, 7 * 86_400  # seconds between two steps
LONGEST_CHAIN = MOST_STEPS * LONGEST_WAIT  # seconds
_TEXTS = ("channel", "template", "subject", "body", "priority", "recipient")


def save_chain(
    name: str,
    steps: Sequence[Mapping[str, Any]],
    *,
    stop_on: str = StopOn.DELIVERED,
    template: str = "",
    expires: int | None = None,
    project: str = DEFAULT_PROJECT,
    test: bool = False,
) -> Chain:
    """Save a chain under a name, in place of the one that has it.

    ``expires`` is in seconds from the start. Runs that have begun keep their steps. Raises a
    subclass of ``InvalidNotification``, which names the field.
    """
    chain = Chain(
        project=project,
        test=test,
        name=name,
        steps=[dict(step) if isinstance(step, Mapping) else step for step in steps],
        stop_on=stop_on,
        template=template,
        expires=expires,
    )
    save(chain)
    return chain


def save(chain: Chain) -> bool:
    """Save a chain in place of the one of its name; return whether it is new."""
    check(chain)
    with transaction.atomic():
        kept, created = Chain.objects.update_or_create(
            project=chain.project,
            test=chain.test,
            name=chain.name,
            defaults={name: getattr(chain, name) for name in FIELDS},
        )
    chain.pk, chain.created_at = kept.pk, kept.created_at
    return created


def get(name: object, world: World) -> Chain:
    """Return a chain by its name. Raises ``UnknownChain``."""
    chain = None
    if isinstance(name, str) and can_be_kept(name):
        chain = Chain.objects.filter(name=name, **world.columns).first()
    if chain is None:
        raise UnknownChain(
            f"There is no chain {shown(name)}.",
            field="chain",
            hint="GET /api/v1/chains lists them; each project has its own, and so have its tests.",
        )
    return chain


def check(chain: Chain) -> None:
    """Check a chain with its name. Raises ``InvalidNotification``, which names the field."""
    projects.check(chain.project)
    name = chain.name
    if (
        not isinstance(name, str)
        or len(name) > LONGEST_CHAIN_NAME
        or not re.match(CHAIN_NAME, name)
    ):
        raise InvalidField(
            f"{shown(name)} is not a valid name of a chain.", field="name", hint=CHAIN_NAME_HINT
        )
    check_steps(chain)


def check_steps(chain: Chain) -> None:
    """Check what a chain does, whether it has a name or not. Raises as ``check``."""
    if chain.stop_on not in set(StopOn):
        raise InvalidField(f"It must be one of: {', '.join(StopOn)}.", field="stop_on")
    family = chain.template
    if not isinstance(family, str) or len(family) > LONGEST_FAMILY or not can_be_kept(family):
        raise InvalidField(
            f"It must be text of at most {LONGEST_FAMILY} characters.", field="template"
        )
    steps = chain.steps
    if not isinstance(steps, list):
        raise InvalidChain("The steps must be a list.", field="steps")
    if not steps:
        raise InvalidChain("A chain needs a step.", field="steps")
    if len(steps) > MOST_STEPS:
        raise InvalidChain(f"It has more than {MOST_STEPS} steps.", field="steps")
    for number, step in enumerate(steps):
        try:
            _check_step(step, chain, is_last=number == len(steps) - 1)
        except InvalidNotification as error:
            field = f"steps.{number}.{error.field}".removesuffix(".")
            raise type(error)(error.message, field=field, hint=error.hint) from None
    _check_expiry(chain)


def _check_expiry(chain: Chain) -> None:
    """Refuse an expiry that some step would be due after."""
    expires = chain.expires
    if expires is None:
        return
    if not isinstance(expires, int) or isinstance(expires, bool) or expires < 1:
        raise InvalidField("It must be a whole number of seconds.", field="expires")
    if expires > LONGEST_CHAIN:
        raise InvalidField("That is longer than any chain.", field="expires")
    waited = 0.0
    for number, step in enumerate(chain.steps[:-1]):
        waited += step["wait"]
        if waited >= expires:
            raise InvalidChain(
                f"The next step would be due after {waited:g} seconds, and the chain expires after"
                f" {expires}.",
                field=f"steps.{number}.wait",
            )


def template_of(step: Mapping[str, Any], chain: Chain) -> str:
    """Return the template of a step: its own, or its channel's of the family; empty for none."""
    if step.get("template"):
        return str(step["template"])
    if chain.template and not step.get("body"):
        return f"{chain.template}.{step['channel']}"
    return ""


def _check_step(step: Any, chain: Chain, *, is_last: bool) -> None:
    if not isinstance(step, dict):
        raise InvalidChain("A step must be a JSON object.", field="")
    if unknown := step.keys() - set(STEP_FIELDS):
        name = min(map(str, unknown))
        raise UnknownArgument(
            f"A step has no field {shown(name)}.",
            field=name,
            hint=f"Known fields: {', '.join(STEP_FIELDS)}.",
        )
    for name in _TEXTS:
        value = step.get(name, "")
        if not isinstance(value, str) or not can_be_kept(value):
            raise InvalidField("It must be text.", field=name)
    channel = step.get("channel", "")
    if channel not in CHANNELS or channel == CALLBACK_CHANNEL:
        raise UnknownChannel(
            f"There is no channel {shown(channel)}.",
            field="channel",
            hint=f"Use one of: {', '.join(ADDRESSED)}.",
        )
    if step.get("priority") and step["priority"] not in PRIORITIES:
        raise UnknownPriority(
            f"There is no priority {shown(step['priority'])}.",
            field="priority",
            hint=f"Use one of: {', '.join(PRIORITIES)}.",
        )
    if step.get("to") is not None:
        requests.named_recipient(step["to"])
    field_types.json_object(step.get("options"), "options")
    validation.check_account(channel, step.get("account", ""), test=chain.test)
    _check_sender(step, chain)
    _check_wait(step.get("wait"), is_last=is_last)
    _check_content(step, chain)


def _check_sender(step: Mapping[str, Any], chain: Chain) -> None:
    sender = mail.sender(step.get("from_email"))
    if sender and step["channel"] != "email":
        raise InvalidField("Only a step by email has a sender of its own.", field="from_email")
    if not chain.test:
        validation.check_sender(step["channel"], sender, step.get("account", ""))


def _check_wait(wait: object, *, is_last: bool) -> None:
    if wait is None:
        if is_last:
            return
        raise InvalidChain("Say how many seconds pass until the next step.", field="wait")
    is_number = isinstance(wait, int | float) and not isinstance(wait, bool)
    if not is_number or not math.isfinite(wait) or not SHORTEST_WAIT <= wait <= LONGEST_WAIT:  # type: ignore[arg-type,operator]  # a number
        raise InvalidChain(
            f"It must be between {SHORTEST_WAIT} and {LONGEST_WAIT} seconds.", field="wait"
        )


def _check_content(step: Mapping[str, Any], chain: Chain) -> None:
    template = template_of(step, chain)
    if not template:
        if not step.get("body"):
            raise MissingContent(
                "There is nothing to send.", field="template", hint="Give a template, or a body."
            )
        return
    if step.get("body") or step.get("subject"):
        raise MissingContent("Give a template or a text, not both.", field="body")
    try:
        version = catalog.published(template, World(chain.project, chain.test).namespaces)
    except TemplateError as error:
        raise UnknownTemplate(str(error), field="template", hint=error.hint) from None
    if version.channel != step["channel"]:
        raise UnknownTemplate(
            f"Template {template!r} is for {version.channel}, not for {step['channel']}.",
            field="template",
        )
