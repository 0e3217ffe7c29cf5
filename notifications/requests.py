"""A request for a notification: every field checked before a row exists."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

from django.utils import timezone

from notifications import accounts, errors, retry, routing
from notifications.channels import CHANNELS, recipients
from notifications.channels.base import Channel
from templates_engine import catalog
from templates_engine.errors import InvalidContext, MissingVariables, TemplateError
from templates_engine.rendering import CompiledVersion

LONGEST_RECIPIENT = 2000  # bytes, what a database's index can hold
LONGEST_TEXT = 1_000_000  # characters of a subject or a body
LONGEST_CONTEXT = 1_000_000  # characters of JSON
FARTHEST = timedelta(days=3660)


class Request(NamedTuple):
    """What may be asked for. Either a ``template`` with its ``context``, or a ``body``.

    ``eta`` is a time and ``countdown`` a number of seconds; ``expires`` is either. A time
    without a zone is in the current Django time zone. ``retry`` holds figures of a
    ``RetryPolicy`` that differ from the priority's own. ``test`` is for a caller that must not
    reach anybody. ``callback_url`` is told, by a signed POST, how the notification ended.
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


_encode = json.JSONEncoder(allow_nan=False).encode
_FIELDS = frozenset(Request._fields)
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


def read(given: Mapping[str, Any]) -> Request:
    """Make a request of keyword arguments. Raises ``UnknownArgument`` or ``InvalidField``."""
    unknown = given.keys() - _FIELDS
    if unknown:
        name = min(unknown)
        raise errors.UnknownArgument(
            f"A notification has no field {name!r}.",
            field=name,
            hint=f"It has {', '.join(sorted(_FIELDS))}.",
        )
    for name in _REQUIRED:
        if not given.get(name):
            raise errors.InvalidField(f"A notification needs a {name}.", field=name)
    return Request(**given)


def check(request: Request, now: datetime, version: CompiledVersion | None = None) -> Accepted:
    """Check every field against the channel, the template and the time.

    ``version`` stands in for the published one of its template. Raises a subclass of
    ``InvalidNotification`` that names the field.
    """
    channel = CHANNELS.get(request.channel) if isinstance(request.channel, str) else None
    if channel is None:
        raise errors.UnknownChannel(
            f"There is no channel {request.channel!r}.",
            field="channel",
            hint=f"There are {', '.join(CHANNELS)}.",
        )
    if not isinstance(request.test, bool):
        raise errors.InvalidField("test is either true or false.", field="test")
    if not request.test:
        accounts.require(channel.name)
    priority = _priority(request.priority)
    guarantee = _guarantee(request.guarantee)
    recipient = channel.clean_recipient(_text(request, "recipient", LONGEST_RECIPIENT))
    if len(recipient.encode()) > LONGEST_RECIPIENT:
        raise errors.MalformedRecipient(
            f"The recipient is longer than {LONGEST_RECIPIENT} bytes.", field="recipient"
        )
    context = _json(request.context, "context")
    version = _content(request, channel, context, version)
    if request.retry is not None and not isinstance(request.retry, Mapping):
        raise errors.InvalidRetryPolicy("The retry policy must be an object.", field="retry")
    retry.policy_for(priority, request.retry)
    scheduled_at = _scheduled_at(request, now)
    return Accepted(
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
        metadata=_json(request.metadata, "metadata"),
        retry=dict(request.retry) if request.retry else None,
        scheduled_at=scheduled_at,
        expires_at=_expires_at(request, now, scheduled_at),
        test=request.test,
        callback_url=_callback_url(request),
    )


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
            "The callback_url is no URL.", field="callback_url", hint=error.hint
        ) from None


def content_hash(accepted: Accepted) -> str:
    """Tell whether two requests ask for the same thing; when they do so makes no difference."""
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
    ]
    return blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def _priority(priority: str | int) -> str:
    """Take a name, or Celery's number: 0 is the highest and 9 the lowest, as on Redis."""
    if isinstance(priority, int) and not isinstance(priority, bool) and 0 <= priority <= 255:
        return routing.PRIORITIES[0 if priority < 3 else 1 if priority < 7 else 2]
    if priority not in routing.PRIORITIES:
        raise errors.UnknownPriority(
            f"There is no priority {priority!r}.",
            field="priority",
            hint=f"There are {', '.join(routing.PRIORITIES)}.",
        )
    return str(priority)


def _guarantee(guarantee: str) -> str:
    try:
        return retry.Guarantee(guarantee).value
    except ValueError:
        raise errors.UnknownGuarantee(
            f"There is no guarantee {guarantee!r}.",
            field="guarantee",
            hint=f"There are {', '.join(retry.Guarantee)}.",
        ) from None


def _content(
    request: Request,
    channel: Channel,
    context: dict[str, Any],
    version: CompiledVersion | None,
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
    if not request.body:
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
        version = version or catalog.published(name)
    except TemplateError as error:
        raise errors.UnknownTemplate(str(error), field="template", hint=error.hint) from error
    if version.channel != request.channel:
        raise errors.UnknownTemplate(
            f"Template {name!r} is for {version.channel}, not for {request.channel}.",
            field="template",
        )
    try:
        version.check(context)
    except (MissingVariables, InvalidContext) as error:
        raise errors.InvalidContext(str(error), field="context", hint=error.hint) from error
    return version


def _text(request: Request, name: str, longest: int) -> str:
    value = getattr(request, name)
    if not isinstance(value, str):
        raise errors.InvalidField(f"{name} must be text.", field=name)
    if not value:
        return value
    if len(value) > longest:
        raise errors.InvalidField(f"{name} is longer than {longest} characters.", field=name)
    if not _can_be_kept(value):
        raise errors.InvalidField(
            f"{name} holds a character that cannot be kept (NUL or half of a pair).", field=name
        )
    return value


def _can_be_kept(text: str) -> bool:
    if text.isascii():
        return "\x00" not in text
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def _json(value: Mapping[str, Any] | None, field: str) -> dict[str, Any]:
    if not value:
        if value is None or isinstance(value, Mapping):
            return {}
        raise errors.InvalidContext(f"The {field} must be a JSON object.", field=field)
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.InvalidContext(
            f"The {field} is not JSON: {error}.", field=field, hint="Pass dates as text."
        ) from None
    kept = json.loads(text)
    if not isinstance(kept, dict):
        raise errors.InvalidContext(f"The {field} must be a JSON object.", field=field)
    if len(text) > LONGEST_CONTEXT:
        raise errors.InvalidContext(f"The {field} is larger than 1 MB.", field=field)
    if ("\\u0000" in text or "\\ud" in text) and not all(map(_can_be_kept, _texts(kept))):
        raise errors.InvalidContext(
            f"The {field} holds a character that cannot be kept (NUL or half of a pair).",
            field=field,
        )
    return kept


def _texts(value: Any) -> Iterator[str]:
    """Give every text of a JSON value, its keys too."""
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
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise errors.InvalidTime(f"{field} must be a number of seconds.", field=field)
    try:
        return timedelta(seconds=min(value, 1e10))
    except OverflowError:
        raise errors.InvalidTime(f"{field} is out of range.", field=field) from None


def _time(value: datetime | str, field: str) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise errors.InvalidTime(
                f"{field} is no time.", field=field, hint="Give it like 2026-12-24T18:00:00+01:00."
            ) from None
    if not isinstance(value, datetime):
        raise errors.InvalidTime(f"{field} is no time.", field=field)
    try:
        aware = value if value.tzinfo else timezone.make_aware(value)
        return aware.astimezone(UTC)
    except (OverflowError, ValueError):
        raise errors.InvalidTime(f"{field} is out of range.", field=field) from None
