"""Checks of settings by what reads them, which needs the models; ``checks`` lists them late."""

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import Error

from notifications.callbacks import mailbox
from notifications.providers import simulator
from notifications.providers.webhook import WebhookProvider
from notifications.worker import checks


def _bounce_mailbox() -> Iterator[Error]:
    try:
        if settings.BOUNCE_MAILBOX:
            mailbox.read_url(settings.BOUNCE_MAILBOX)
    except ValueError:  # its text may hold a part of the password
        yield Error(
            "BOUNCE_MAILBOX is not an address of a mailbox.",
            hint="Use imaps://user:password@host/INBOX.",
            id="config.E020",
        )


def _simulator() -> Iterator[Error]:
    if not simulator.is_behaviour(settings.SIMULATOR):
        yield Error(
            "SIMULATOR is not a behaviour of the simulator.",
            hint="Use names and values, like latency=0.1&error_rate=0.01.",
            id="config.E021",
        )


def _webhook_secrets() -> Iterator[Error]:
    given = " ".join(settings.WEBHOOK_SECRETS)
    if given and (problem := WebhookProvider.secret_problem("signing", given)):
        yield Error(
            f"WEBHOOK_SECRETS cannot be used. {problem}",
            hint='Make one: python -c "import base64, os; '
            "print('whsec_' + base64.b64encode(os.urandom(24)).decode())\"",
            id="config.E024",
        )


checks.ERRORS += [_bounce_mailbox, _simulator, _webhook_secrets]
