"""A request for a notification: every field checked before a row exists."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from notifications.channels import CHANNELS, addresses, kinds, recipients
from notifications.channels import mail as mails
from notifications.channels import options as channel_options
from notifications.channels.base import Channel, Content
from notifications.channels.mail import KeptMail, Mail
from notifications.core import errors, retry, routing
from notifications.core.text import can_be_kept, shown, why_not_json
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.providers import accounts
from notifications.recipients import unsubscribe_links
from notifications.submission import projects
from templates_engine import catalog, sms
from templates_engine.conf import rendering_settings
from templates_engine.errors import InvalidContext, MissingVariables, TemplateError, TooManySegments
from templates_engine.rendering import CompiledVersion

LONGEST_RECIPIENT = 2000  # bytes, what a database's index can hold
LONGEST_TEXT = 1_000_000  # characters of a subject or a body
LONGEST_CONTEXT = 1_000_000  # characters of JSON
FARTHEST = timedelta(days=3660)
# Channels whose services take only so much, and how many characters all of them take: the
# tightest is an SMS of ten segments in UCS-2.
LIMITED = frozenset({"sms", "push", "chat"})
SURE_TO_FIT = 600
NO_ID = UUID(int=0)


class Request(NamedTuple):
    """What may be asked for. Either a ``template`` with its ``context``, or a ``body``.

    ``eta`` is a time and ``countdown`` a number of seconds; ``expires`` is either. A time
    as text has its offset; a ``datetime`` without one is in the current Django time zone.
    ``retry`` holds figures of a ``RetryPolicy`` that differ from the priority's own. ``test`` is
    for a caller that must not reach anybody. ``callback_url`` is told, by a signed POST, how the
    notification ended. ``options`` are what the provider is told beside the content
    (``channels.options``). ``project`` names whose it is: its templates, suppressions and
    idempotency keys count. ``mail`` holds what only a mail has (``channels.mail``); ``read`` takes
    its fields one by one.
    """

    channel: str
    recipient: str
    template: str = ""
    context: Mapping[str, Any] | None = None
    subject: str = ""
    body: str = ""
    locale: str = ""
    priority: str | int = routing.DEFAULT_PRIORITY
    guarantee: str = retry.Guarantee.AT_LEAST_ONCE
    idempotency_key: str = ""
    reference: str = ""
    metadata: Mapping[str, Any] | None = None
    retry: Mapping[str, Any] | None = None
    eta: datetime | str | None = None
    countdown: float | None = None
    expires: datetime | str | float | None = None
    test: bool = False
    callback_url: str = ""
    options: Mapping[str, Any] | None = None
    project: str = DEFAULT_PROJECT
    mail: Mapping[str, Any] | Mail | KeptMail | None = None


_encode = json.JSONEncoder(allow_nan=False).encode
_FIELDS = frozenset(Request._fields) - {"mail"} | mails.FIELDS.keys()
_OF_MAIL = mails.FIELDS.keys()
_REQUIRED = ("channel", "recipient")


class Accepted(NamedTuple):
    """A request whose every field has been checked, in the form that is kept.

    ``scheduled_at`` is None for "now", which the database's clock decides.
    """

    channel: str
    priority: str
    recipient: str
    template_version: CompiledVersion | None
    locale: str
    context: dict[str, Any]
    subject: str
    body: str
    guarantee: str
    idempotency_key: str
    reference: str
    metadata: dict[str, Any]
    retry: dict[str, Any] | None
    scheduled_at: datetime | None
    expires_at: datetime | None
    test: bool
    callback_url: str
    options: dict[str, Any]
    project: str
    mail: Mail | KeptMail | None = None


def read(given: Mapping[str, Any]) -> Request:
    """Make a request of keyword arguments. Raises ``UnknownArgument`` or ``InvalidField``."""
    unknown = given.keys() - _FIELDS
    if unknown == {"mail"} and isinstance(given["mail"], Mail | KeptMail | None):
        unknown = set()  # from inside: no other entry point can make such an object
    if unknown:
        name = min(map(str, unknown))
        raise errors.UnknownArgument(
            f"A notification has no field {name!r}.",
            field=name,
            hint=f"It has {', '.join(sorted(_FIELDS))}.",
        )
    for name in _REQUIRED:
        if not given.get(name):
            raise errors.InvalidField(f"A notification needs a {name}.", field=name)
    if _OF_MAIL.isdisjoint(given):
        return Request(**given)
    rest = {name: value for name, value in given.items() if name not in _OF_MAIL}
    return Request(**rest, mail={name: given[name] for name in _OF_MAIL if name in given})


def prepared(common: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read once what many requests share and would each read anew: their attachments.

    What cannot be read stays as it is, so that each request is refused for it.
    """
    if not common.get("attachments"):
        return common
    try:
        return {**common, "attachments": mails.read_files(common["attachments"])}
    except errors.InvalidNotification:
        return common


def check(request: Request, now: datetime, version: CompiledVersion | None = None) -> Accepted:
    """Check every field against the channel, the template and the time.

    ``version`` stands in for the published one of its template. Raises a subclass of
    ``InvalidNotification`` that names the field.
    """
    channel = CHANNELS.get(request.channel) if isinstance(request.channel, str) else None
    if channel is None:
        raise errors.UnknownChannel(
            f"There is no channel {shown(request.channel)}.",
            field="channel",
            hint=f"There are {', '.join(CHANNELS)}.",
        )
    if not isinstance(request.test, bool):
        raise errors.InvalidField("test is either true or false.", field="test")
    project = projects.check(request.project)
    if not request.test:
        accounts.require(channel.name)
    priority = _priority(request.priority)
    guarantee = _guarantee(request.guarantee)
    name, address = _named(channel, _text(request, "recipient", LONGEST_RECIPIENT))
    recipient = channel.clean_recipient(address)
    if len(recipient.encode()) > LONGEST_RECIPIENT:
        raise errors.MalformedRecipient(
            f"The recipient is longer than {LONGEST_RECIPIENT} bytes.", field="recipient"
        )
    takers = _takers(request, channel, recipient)
    context = json_object(request.context, "context")
    mail = _mail(request, channel)
    version = _content(request, channel, context, version, mail)
    options = _options(request, channel, takers)
    if name:
        options["to_name"] = name
    if version is None:
        _check_own_text(request, channel, takers, options)
    if request.retry is not None and not isinstance(request.retry, Mapping):
        raise errors.InvalidRetryPolicy("The retry policy must be an object.", field="retry")
    retry.policy_for(priority, request.retry)
    scheduled_at = _scheduled_at(request, now)
    accepted = Accepted(
        channel=channel.name,
        priority=priority,
        recipient=recipient,
        template_version=version,
        locale=_text(request, "locale", 35),
        context=context,
        subject=request.subject,
        body=request.body,
        guarantee=guarantee,
        idempotency_key=_text(request, "idempotency_key", 255),
        reference=_text(request, "reference", 255),
        metadata=json_object(request.metadata, "metadata"),
        retry=dict(request.retry) if request.retry else None,
        scheduled_at=scheduled_at,
        expires_at=_expires_at(request, now, scheduled_at),
        test=request.test,
        callback_url=_callback_url(request),
        options=options,
        project=project,
        mail=mail,
    )
    if version is not None:
        _check_rendered(request, version, takers, accepted)
    return accepted


def _named(channel: Channel, recipient: str) -> tuple[str, str]:
    """Part a mail's recipient into a name, perhaps empty, and an address."""
    if channel.name != "email" or "<" not in recipient:
        return "", recipient
    try:
        return addresses.mailbox(recipient)
    except addresses.BadAddress:
        return "", recipient  # which is refused as an address


def _mail(request: Request, channel: Channel) -> Mail | KeptMail | None:
    """Check what only a mail has; None where there is nothing of it."""
    given = request.mail
    if given is None:
        return None
    if channel.name != "email":
        present = [n for n, v in given.items() if v] if isinstance(given, Mapping) else ["mail"]
        if not present:
            return None
        raise errors.InvalidField(
            f"The channel {channel.name!r} has no {present[0]}: only email has.", field=present[0]
        )
    found = mails.check(given) if isinstance(given, Mapping) else given
    if found is None:
        return None
    kept = found.kept
    if request.template and kept.get("html"):
        raise errors.MissingContent(
            "There are both a template and HTML of its own.",
            field="html",
            hint="Give either template and context, or body and html.",
        )
    sender = kept.get("from_email", "")
    if sender and not request.test and not accounts.may_send_as(channel.name, sender):
        raise errors.InvalidField(
            f"No account may send as {addresses.mailbox(sender).address}.",
            field="from_email",
            hint="An account's setting senders, or EMAIL_SENDERS, names who may be the sender.",
        )
    if isinstance(found, Mail):
        mails.check_size(found, request.body)
    return found


def _takers(request: Request, channel: Channel, recipient: str) -> list[str]:
    """Return the kinds of provider that could reach a recipient, where there are several.

    Raises ``MalformedRecipient`` where none could.
    """
    if request.test or not channel.is_mixed:
        return []
    found = accounts.takers(channel.name, recipient)
    if not found:
        raise errors.MalformedRecipient(
            f"No account of the channel {channel.name!r} takes such a recipient.",
            field="recipient",
            hint="docs/providers.md says which kind of provider takes which.",
        )
    return found


def _options(request: Request, channel: Channel, takers: Sequence[str]) -> dict[str, Any]:
    """Check the options; each must be carried by some account that takes the recipient."""
    given = json_object(request.options, "options")
    if given:
        channel_options.check(channel.name, given)
    for name in given if takers else ():
        if not any(kinds.carries(kind, name) for kind in takers):
            raise errors.InvalidField(
                f"No account that takes this recipient carries the option {name!r}.",
                field=f"options.{name}",
                hint="docs/providers.md says which kind of provider carries which.",
            )
    return given


def _check_own_text(
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


def _check_rendered(
    request: Request, version: CompiledVersion, takers: Sequence[str], accepted: Accepted
) -> None:
    """Refuse what a template makes of this context and nobody could send.

    Rendered here only where it may be too long; what a short template makes of a short context
    is seen when it is sent. Rendering gives the same then.
    """
    context = accepted.context
    if version.channel not in LIMITED:
        return
    if version.source_length + len(repr(context)) <= SURE_TO_FIT:
        return
    link = ""
    if version.may_unsubscribe:
        world = World(accepted.project, accepted.test)
        link = unsubscribe_links.url(NO_ID, accepted.channel, accepted.recipient, world)
    field = "context" if context else "template"
    try:
        content = version.render(context, accepted.locale or None, link)
    except TemplateError as error:
        raise errors.InvalidContext(str(error), field=field, hint=error.hint) from error
    if problem := _size_problem(request, takers, {**content, "options": accepted.options}):
        raise errors.InvalidContext(problem, field=field)


def _size_problem(request: Request, takers: Sequence[str], content: Content) -> str:
    """Return why no account that takes the recipient could ever send this; ``""`` if one could."""
    if request.test or request.channel not in LIMITED:
        return ""
    found = takers or accounts.takers(request.channel, request.recipient)
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


def _callback_url(request: Request) -> str:
    given = _text(request, "callback_url", LONGEST_RECIPIENT)
    if not given:
        return ""
    if request.channel == routing.CALLBACK_CHANNEL:
        raise errors.InvalidField("A callback has no callback.", field="callback_url")
    try:
        return recipients.url(given)
    except errors.MalformedRecipient as error:
        raise errors.InvalidField(
            "The callback_url is not a URL.", field="callback_url", hint=error.hint
        ) from None


def content_hash(accepted: Accepted, use: str = "") -> str:
    """Return whether two requests ask for the same thing; when they do so makes no difference.

    ``use`` tells one use of an id from another, where no idempotency key says what is the same.
    """
    version = accepted.template_version
    content = [
        accepted.channel,
        accepted.recipient,
        accepted.priority,
        version.template_name if version else "",
        accepted.context,
        accepted.subject,
        accepted.body,
        accepted.locale,
        accepted.guarantee,
        accepted.reference,
        accepted.metadata,
        accepted.test,  # so that no rehearsal is taken for the performance
        *([use] if use and not accepted.idempotency_key else ()),
    ]
    if accepted.mail is not None:
        content.append(accepted.mail.digest)
    if accepted.options:  # so that what was accepted before there were any has the same hash
        content.append(accepted.options)
    return blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def _priority(priority: str | int) -> str:
    """Take a name, or Celery's number: 0 is the highest and 9 the lowest, as on Redis."""
    if isinstance(priority, int) and not isinstance(priority, bool) and 0 <= priority <= 255:
        return routing.PRIORITIES[0 if priority < 3 else 1 if priority < 7 else 2]
    if priority not in routing.PRIORITIES:
        raise errors.UnknownPriority(
            f"There is no priority {shown(priority)}.",
            field="priority",
            hint=f"There are {', '.join(routing.PRIORITIES)}.",
        )
    return str(priority)


def _guarantee(guarantee: str) -> str:
    if not isinstance(guarantee, str) or guarantee not in set(retry.Guarantee):
        raise errors.UnknownGuarantee(
            f"There is no guarantee {shown(guarantee)}.",
            field="guarantee",
            hint=f"There are {', '.join(retry.Guarantee)}.",
        )
    return str(guarantee)


def _content(
    request: Request,
    channel: Channel,
    context: dict[str, Any],
    version: CompiledVersion | None,
    mail: Mail | KeptMail | None,
) -> CompiledVersion | None:
    for name in ("subject", "body"):
        _text(request, name, LONGEST_TEXT)
    if request.template:
        if request.body or request.subject:
            raise errors.MissingContent(
                "There are both a template and a text of its own.",
                field="body",
                hint="Give either template and context, or subject and body.",
            )
        return _template(request, context, version)
    if not request.body and not (mail and mail.may_lack_a_body):
        raise errors.MissingContent(
            "There is nothing to send.", field="body", hint="Give a template, or a body."
        )
    if channel.subject_part in channel.single_line and any(c in request.subject for c in "\r\n"):
        raise errors.InvalidField(
            "The subject has a line break, which could forge a header.", field="subject"
        )
    return None


def _template(
    request: Request, context: dict[str, Any], version: CompiledVersion | None
) -> CompiledVersion:
    name = _text(request, "template", 255)
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
    gives_link = version.may_unsubscribe and settings.PUBLIC_URL
    if not gives_link and version.needs_unsubscribe_url(context):
        raise errors.InvalidContext(
            f"Template {name!r} prints unsubscribe_url, and there is none to give.",
            field="context",
            hint="It takes the category marketing and PUBLIC_URL; or pass one in the context.",
        )
    return version


def _text(request: Request, name: str, longest: int) -> str:
    value = getattr(request, name)
    if not isinstance(value, str):
        raise errors.InvalidField(f"{name} must be text.", field=name)
    if not value:
        return value
    if len(value) > longest:
        raise errors.InvalidField(f"{name} is longer than {longest} characters.", field=name)
    if not can_be_kept(value):
        raise errors.InvalidField(
            f"{name} holds a character that cannot be kept (NUL or half of a pair).", field=name
        )
    return value


def json_object(value: Mapping[str, Any] | None, field: str) -> dict[str, Any]:
    """Return a JSON object as a new dict. Raises ``InvalidField``."""
    if not value:
        if value is None or isinstance(value, Mapping):
            return {}
        raise errors.InvalidContext(f"The {field} must be a JSON object.", field=field)
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        why = why_not_json(value, field) or "it cannot be written"
        raise errors.InvalidContext(
            f"The {field} is not JSON: {why}.", field=field, hint="Pass dates as text."
        ) from None
    kept = json.loads(text)
    if not isinstance(kept, dict):
        raise errors.InvalidContext(f"The {field} must be a JSON object.", field=field)
    if len(text) > LONGEST_CONTEXT:
        raise errors.InvalidContext(f"The {field} is larger than 1 MB.", field=field)
    if ("\\u0000" in text or "\\ud" in text) and not all(map(can_be_kept, _texts(kept))):
        raise errors.InvalidContext(
            f"The {field} holds a character that cannot be kept (NUL or half of a pair).",
            field=field,
        )
    return kept


def _texts(value: Any) -> Iterator[str]:
    """Return every text of a JSON value, its keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _scheduled_at(request: Request, now: datetime) -> datetime | None:
    if request.eta is not None and request.countdown is not None:
        raise errors.InvalidTime("There are both an eta and a countdown.", field="eta")
    if request.countdown is not None:
        due = now + _seconds(request.countdown, "countdown")
    elif request.eta is not None:
        due = _time(request.eta, "eta")
    else:
        return None
    if due > now + FARTHEST:
        raise errors.InvalidTime(
            "That is more than ten years ahead.",
            field="countdown" if request.eta is None else "eta",
        )
    return due if due > now else None


def _expires_at(request: Request, now: datetime, scheduled_at: datetime | None) -> datetime | None:
    if request.expires is None:
        return None
    if isinstance(request.expires, datetime | str):
        expires_at = _time(request.expires, "expires")
    else:
        # Celery counts it from the call, not from the due time.
        expires_at = now + _seconds(request.expires, "expires")
    if expires_at <= now:
        raise errors.InvalidTime("The expiry is in the past.", field="expires")
    if scheduled_at is not None and expires_at <= scheduled_at:
        raise errors.InvalidTime("It would expire before it is due.", field="expires")
    return expires_at


def _seconds(value: float, field: str) -> timedelta:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (isinstance(value, float) and not math.isfinite(value)):
        raise errors.InvalidTime(f"{field} must be a number of seconds.", field=field)
    try:
        return timedelta(seconds=max(min(value, 1e10), -1e10))
    except OverflowError:
        raise errors.InvalidTime(f"{field} is out of range.", field=field) from None


def _time(value: datetime | str, field: str) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise errors.InvalidTime(
                f"{field} is not a time.",
                field=field,
                hint="Write it as 2026-12-24T18:00:00+01:00.",
            ) from None
        if value.tzinfo is None:
            raise errors.InvalidTime(
                f"{field} has no offset, so it could be a time of any zone.",
                field=field,
                hint="Give it like 2026-12-24T18:00:00+01:00.",
            )
    if not isinstance(value, datetime):
        raise errors.InvalidTime(f"{field} is not a time.", field=field)
    try:
        aware = value if value.tzinfo else timezone.make_aware(value)
        return aware.astimezone(UTC)
    except (OverflowError, ValueError):
        raise errors.InvalidTime(f"{field} is out of range.", field=field) from None
