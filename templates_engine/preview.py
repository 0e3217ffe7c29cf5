"""What a version's content will look like, for the admin and the API."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser

from templates_engine import catalog
from templates_engine.isolated import render_isolated
from templates_engine.models import Status, TemplateVersion
from templates_engine.parts import DEFAULT_LOCALE, Content
from templates_engine.publishing import draft_of
from templates_engine.sms import SmsSize, measure


@dataclass(frozen=True)
class Preview:
    """Finished content. ``sms`` only for that channel."""

    template_name: str
    namespace: str
    number: int
    channel: str
    locale: str
    context: Mapping[str, Any]
    content: Content
    sms: SmsSize | None


TestSender = Callable[[Preview, str, AbstractBaseUser], str]
"""Sends a preview to a recipient, if this person may, and returns what to tell the person."""

# Channel → sender; "*" is asked for any other. The delivering package registers itself here.
test_senders: dict[str, TestSender] = {}


def preview(
    version: TemplateVersion,
    context: Mapping[str, Any] | None = None,
    locale: str | None = None,
) -> Preview:
    """Render a version with a context, or with its sample.

    A draft is rendered in a process of its own, with layouts and partials as they are now.
    Raises: InvalidTemplate, MissingVariables, InvalidContext, RenderError.
    """
    used = version.sample_context if context is None else context
    wanted = None if locale in (None, "", DEFAULT_LOCALE) else locale
    if version.status == Status.DRAFT:
        content = render_isolated(draft_of(version), used, wanted)
    else:
        compiled = catalog.compile_version(version)
        compiled.check(used)
        content = compiled.render(used, wanted, compiled.sample_links)
    channel = version.template.channel
    return Preview(
        template_name=version.template.name,
        namespace=version.template.namespace,
        number=version.number,
        channel=channel,
        locale=wanted or DEFAULT_LOCALE,
        context=used,
        content=content,
        sms=measure(str(content["text"])) if channel == "sms" else None,
    )


_SCHEME = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(light|dark)\s*\)", re.IGNORECASE)
_ALWAYS, _NEVER = "(min-width: 0)", "(max-width: 0)"


def in_scheme(html: str, scheme: str) -> str:
    """Return HTML as a mail program in ``light`` or ``dark`` shows it, whatever the reader's is.

    Media queries that ask for the scheme are answered.
    """
    return _SCHEME.sub(lambda asked: _ALWAYS if asked[1].lower() == scheme else _NEVER, html)


def test_sender_of(channel: str) -> TestSender | None:
    """Return who can send a test through a channel, if anybody."""
    return test_senders.get(channel) or test_senders.get("*")
