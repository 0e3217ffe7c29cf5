"""Whether a request's content could be sent: by its template, or with its own text."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings

from notifications.channels import kinds
from notifications.channels.base import Channel, Content
from notifications.channels.mail import KeptMail, Mail
from notifications.core import errors, routing
from notifications.core.world import World
from notifications.providers import accounts
from notifications.recipients import own_links
from notifications.submission.field_types import text_of
from notifications.submission.fields import Accepted, Request
from templates_engine import catalog, sms
from templates_engine.conf import rendering_settings
from templates_engine.errors import InvalidContext, MissingVariables, TemplateError, TooManySegments
from templates_engine.rendering import CompiledVersion, Links

LONGEST_TEXT = 1_000_000  # characters of a subject or a body
# Channels whose services take only so much, and how many characters all of them take, escaped
# or in UTF-8. Of an SMS its segments decide, too.
LIMITED = frozenset({"sms", "push", "chat"})
SURE_TO_FIT = 600
NO_ID = UUID(int=0)


def template_of(
    request: Request,
    channel: Channel,
    context: dict[str, Any],
    version: CompiledVersion | None,
    mail: Mail | KeptMail | None,
) -> CompiledVersion | None:
    """Return the version of the request's template, None for a text of its own.

    Raises a subclass of ``InvalidNotification``.
    """
    for name in ("subject", "body"):
        text_of(request, name, LONGEST_TEXT)
    if request.template:
        if request.body or request.subject:
            raise errors.MissingContent(
                "Give a template or a text, not both.",
                field="body",
                hint="Give either template and context, or subject and body.",
            )
        return _template(request, context, version)
    if not request.body and not (mail and mail.may_lack_a_body):
        raise errors.MissingContent(
            "There is nothing to send.", field="body", hint="Give a template, or a body."
        )
    check_used(context, "context", request.digest, request.category)
    if channel.subject_part in channel.single_line and any(c in request.subject for c in "\r\n"):
        raise errors.InvalidField(
            "The subject has a line break, which could forge a header.", field="subject"
        )
    return None


def check_used(values: Mapping[str, Any], field: str, digest: object, category: object) -> None:
    """Refuse values for a template where there is only a text. Raises ``MissingContent``."""
    if values and not may_be_items(digest, category):
        raise errors.MissingContent(
            f"Without a template the {field} fills nothing: the text is sent as it stands.",
            field=field,
            hint="Name a template, or write the values into subject and body.",
        )


def may_be_items(digest: object, category: object) -> bool:
    """Return whether a digest may take the context of a notification without a template.

    It is the notification's own, or that of a throttle of its category.
    """
    return bool(digest or category)


def _template(
    request: Request, context: dict[str, Any], version: CompiledVersion | None
) -> CompiledVersion:
    name = text_of(request, "template", 255)
    try:
        namespaces = World(request.project, request.test).namespaces
        version = version or catalog.published(name, namespaces)
    except TemplateError as error:
        raise errors.UnknownTemplate(str(error), field="template", hint=error.hint) from error
    if version.channel != request.channel:
        raise errors.UnknownTemplate(
            f"Template {name!r} is for {version.channel}, not for {request.channel}.",
            field="template",
        )
    try:
        version.check(context, nulls=False)
    except (MissingVariables, InvalidContext) as error:
        raise errors.InvalidContext(str(error), field="context", hint=error.hint) from error
    if missing := version.missing_links(context, _links_to_give(request, version)):
        raise errors.InvalidContext(
            f"Template {name!r} prints {missing[0]}, which this notification does not have.",
            field="context",
            hint=f"{_TAKES[missing[0]]} Or pass one in the context.",
        )
    return version


# What a link of the recipient's own takes.
_TAKES = {
    "unsubscribe_url": "It needs the category marketing and the setting PUBLIC_URL.",
    "preferences_url": "It needs a stored recipient (to) and the setting PUBLIC_URL.",
}


def _links_to_give(request: Request, version: CompiledVersion) -> Links:
    """Return, in place of each link that there will be, the address that it begins with."""
    root = settings.PUBLIC_URL
    return Links(root if version.may_unsubscribe else "", root if request.to else "")


def check_own_text(
    request: Request, channel: Channel, takers: Sequence[str], options: dict[str, Any]
) -> None:
    """Refuse a text that nobody could send."""
    problem = ""
    if channel.name == "sms":
        problem = _sms_problem(request.body)
    elif channel.name in routing.ENDPOINT_CHANNELS:
        problem = _json_problem(request.body)
    if not problem:
        own = channel.own_content(request.subject, request.body)
        problem = _size_problem(request, takers, {**own, "options": options})
    if problem:
        raise errors.InvalidField(problem, field="body")


def check_rendered(
    request: Request, version: CompiledVersion, takers: Sequence[str], accepted: Accepted
) -> None:
    """Refuse what a template makes of this context and nobody could send.

    Rendered here only where it may be too long; what a short template makes of a short context
    is seen when it is sent. Rendering gives the same then.
    """
    context = accepted.context
    if version.channel not in LIMITED:
        return
    fits = SURE_TO_FIT
    if version.channel == "sms":
        fits = min(fits, sms.sure_to_fit(version.max_segments))
    if version.source_length + len(repr(context)) <= fits:
        return
    world, to = World(accepted.project, accepted.test), (accepted.channel, accepted.recipient)
    links = own_links.of(version, NO_ID, to, world, accepted.recipient_key)
    field = "context" if context else "template"
    try:
        content = version.render(context, accepted.locale or None, links)
    except TemplateError as error:
        raise errors.InvalidContext(str(error), field=field, hint=error.hint) from error
    if problem := _size_problem(request, takers, {**content, "options": accepted.options}):
        raise errors.InvalidContext(problem, field=field)


def _size_problem(request: Request, takers: Sequence[str], content: Content) -> str:
    """Return why no account that takes the recipient could ever send this; ``""`` if one could."""
    if request.test or request.channel not in LIMITED:
        return ""
    found = takers or accounts.takers(request.channel, request.recipient, request.account)
    problems = [kinds.refuses(kind, content) for kind in found]
    return problems[0] if problems and all(problems) else ""


def _sms_problem(text: str) -> str:
    chosen = rendering_settings()
    try:
        sent = sms.sendable(text, keep_typography=chosen["keep_typography"])
        sms.check_segments(sent, chosen["max_segments"])
    except TooManySegments as error:
        return f"{error} {error.hint}"
    return "" if sent.strip() else "There is nothing to send."


def _json_problem(text: str) -> str:
    """Refuse what looks like JSON to Python alone: NaN and Infinity (RFC 8259, 6)."""
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except _NotJson as error:
        return f"The body is not JSON: {error} is not a number there."
    except (ValueError, RecursionError):
        return ""  # text, which is wrapped into JSON
    return ""


class _NotJson(Exception):
    pass


def _refuse_constant(name: str) -> None:
    raise _NotJson(name)
