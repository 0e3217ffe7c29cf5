"""Checks a request: every field, before a row exists."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from notifications.channels import CHANNELS, addresses, kinds, recipients
from notifications.channels import mail as mails
from notifications.channels import options as channel_options
from notifications.channels.base import Channel
from notifications.channels.mail import KeptMail, Mail
from notifications.core import errors, retry, routing
from notifications.core.text import shown
from notifications.core.world import World
from notifications.providers import accounts
from notifications.recipients import categories
from notifications.submission import digest_fields, projects
from notifications.submission.content import check_own_text, check_rendered, template_of
from notifications.submission.field_types import json_object, text_of
from notifications.submission.fields import OBJECTS, TEXTS, Accepted, Request
from notifications.submission.times import expires_at_of, scheduled_at_of
from templates_engine.models import Category
from templates_engine.rendering import CompiledVersion

LONGEST_RECIPIENT = 2000  # bytes, what a database's index can hold
_GUARANTEES = frozenset(retry.Guarantee)


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
            hint=f"Use one of: {', '.join(CHANNELS)}.",
        )
    if not isinstance(request.test, bool):
        raise errors.InvalidField("test must be true or false.", field="test")
    project = projects.check(request.project)
    if not request.test:
        accounts.require(channel.name)
    priority = _priority(request.priority)
    guarantee = _guarantee(request.guarantee)
    name, address = _named(channel, text_of(request, "recipient", LONGEST_RECIPIENT))
    recipient = channel.clean_recipient(address)
    if len(recipient.encode()) > LONGEST_RECIPIENT:
        raise errors.MalformedRecipient(
            f"The recipient is longer than {LONGEST_RECIPIENT} bytes.", field="recipient"
        )
    check_account(channel.name, request.account, test=request.test)
    takers = _takers(request, channel, recipient)
    context = json_object(request.context, "context")
    mail = _mail(request, channel)
    version = template_of(request, channel, context, version, mail)
    options = _options(request, channel, takers)
    if name:
        options["to_name"] = name
    if version is None:
        check_own_text(request, channel, takers, options)
    if request.retry is not None and not isinstance(request.retry, Mapping):
        raise errors.InvalidRetryPolicy("The retry policy must be an object.", field="retry")
    retry.policy_for(priority, request.retry)
    scheduled_at = scheduled_at_of(request, now)
    plain: dict[str, Any] = {name: text_of(request, name, most) for name, most in TEXTS.items()}
    plain |= {name: json_object(getattr(request, name), name) for name in OBJECTS}
    accepted = Accepted(
        channel=channel.name,
        priority=priority,
        recipient=recipient,
        template_version=version,
        context=context,
        subject=request.subject,
        body=request.body,
        guarantee=guarantee,
        **plain,
        retry=dict(request.retry) if request.retry else None,
        scheduled_at=scheduled_at,
        expires_at=expires_at_of(request, now, scheduled_at),
        test=request.test,
        callback_url=_callback_url(request),
        options=options,
        project=project,
        mail=mail,
        recipient_key=request.to or "",
        category=_category(request, version),
        digest=None if request.digest is None else digest_fields.check(request.digest),
    )
    if version is not None:
        check_rendered(request, version, takers, accepted)
    return accepted


def _category(request: Request, version: CompiledVersion | None) -> str:
    """Check the category. Raises ``UnknownCategory``, or ``InvalidField``."""
    if request.category == "":
        return ""
    kind = categories.require(request.category, World(request.project, request.test))
    if kind.required and version is not None and version.category == Category.MARKETING:
        raise errors.InvalidField(
            f"A marketing template cannot be sent as {kind.name}, which nobody can refuse.",
            field="category",
        )
    return kind.name


def _named(channel: Channel, recipient: str) -> tuple[str, str]:
    """Part a mail's recipient into a name, perhaps empty, and an address."""
    if channel.name != "email" or not ("<" in recipient or "\uff1c" in recipient):
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
            "Give a template or HTML, not both.",
            field="html",
            hint="Give either template and context, or body and html.",
        )
    if not request.test:
        check_sender(channel.name, kept.get("from_email", ""), request.account)
    if isinstance(found, Mail):
        mails.check_size(found, request.body)
    return found


def check_account(channel: str, name: object, *, test: bool) -> None:
    """Check the account that is named. Raises ``UnknownAccount`` or ``InvalidField``.

    A test reaches no account, so it may name any.
    """
    if name == "":
        return
    if not isinstance(name, str) or len(name) > TEXTS["account"]:
        raise errors.InvalidField(
            f"It must be text of at most {TEXTS['account']} characters.", field="account"
        )
    if not test and not accounts.is_known(channel, name):
        known = ", ".join(account.name for account in accounts.all_of(channel))
        raise errors.UnknownAccount(
            f"The channel {channel!r} has no account {shown(name)}.",
            field="account",
            hint=f"Its accounts: {known}." if known else "",
        )


def check_sender(channel: str, sender: str, account: str = "") -> None:
    """Raise ``InvalidField`` where no account, or not the named one, may send as a sender."""
    if sender and not accounts.may_send_as(channel, sender, account):
        raise errors.InvalidField(
            f"No account may send as {addresses.mailbox(sender).address}.",
            field="from_email",
            hint="List the sender in an account's setting senders, or in EMAIL_SENDERS.",
        )


def _takers(request: Request, channel: Channel, recipient: str) -> list[str]:
    """Return the kinds of provider that could reach a recipient, where there are several.

    Raises ``MalformedRecipient`` where none could.
    """
    if request.test or not channel.is_mixed:
        return []
    found = accounts.takers(channel.name, recipient, request.account)
    if not found:
        raise errors.MalformedRecipient(
            f"No account of the channel {channel.name!r} can send to this kind of recipient.",
            field="recipient",
            hint="docs/providers.md lists which provider takes which recipients.",
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
                hint="docs/providers.md lists which provider carries which options.",
            )
    return given


def _callback_url(request: Request) -> str:
    given = text_of(request, "callback_url", LONGEST_RECIPIENT)
    if not given:
        return ""
    if request.channel == routing.CALLBACK_CHANNEL:
        raise errors.InvalidField(
            "A status callback cannot have a callback_url.", field="callback_url"
        )
    try:
        return recipients.url(given)
    except errors.MalformedRecipient as error:
        raise errors.InvalidField(
            "The callback_url is not a URL.", field="callback_url", hint=error.hint
        ) from None


def _priority(priority: str | int) -> str:
    """Take a name, or Celery's number: 0 is the highest and 9 the lowest, as on Redis."""
    if isinstance(priority, int) and not isinstance(priority, bool) and 0 <= priority <= 255:
        return routing.PRIORITIES[0 if priority < 3 else 1 if priority < 7 else 2]
    if priority not in routing.PRIORITIES:
        raise errors.UnknownPriority(
            f"There is no priority {shown(priority)}.",
            field="priority",
            hint=f"Use one of: {', '.join(routing.PRIORITIES)}.",
        )
    return str(priority)


def _guarantee(guarantee: str) -> str:
    if not isinstance(guarantee, str) or guarantee not in _GUARANTEES:
        raise errors.UnknownGuarantee(
            f"There is no guarantee {shown(guarantee)}.",
            field="guarantee",
            hint=f"Use one of: {', '.join(retry.Guarantee)}.",
        )
    return str(guarantee)
