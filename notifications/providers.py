"""Which provider carries a channel. Made once per process, for their connections are kept."""

import threading
from collections.abc import Callable

from django.conf import settings

from notifications.channels.base import Provider
from notifications.channels.outbox import OutboxProvider
from notifications.channels.simulator import SimulatorProvider
from notifications.channels.smtp import SmtpProvider, read_url
from notifications.channels.webhook import WebhookProvider


def _email() -> Provider:
    if settings.EMAIL_URL:
        return SmtpProvider(read_url(settings.EMAIL_URL, settings.EMAIL_FROM))
    return OutboxProvider()


def _webhook() -> Provider:
    return WebhookProvider(
        settings.WEBHOOK_SECRETS,
        allow_private_addresses=settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES,
    )


PROVIDERS: dict[str, Callable[[], Provider]] = {
    "email": _email,
    "sms": OutboxProvider,
    "push": OutboxProvider,
    "webhook": _webhook,
    "chat": OutboxProvider,
    "simulator": SimulatorProvider,
}

_kept = threading.local()


def for_channel(channel: str) -> Provider:
    """Give this thread's provider for a channel; its connections serve one message at a time."""
    made: dict[str, Provider] = _kept.__dict__
    if channel not in made:
        made[channel] = PROVIDERS[channel]()
    return made[channel]
