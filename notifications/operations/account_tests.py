"""A test message through one account, also a disabled one, before anybody relies on it."""

from uuid import uuid4

from django.contrib.auth.base_user import AbstractBaseUser

from notifications.channels import CHANNELS
from notifications.channels.base import Message
from notifications.channels.kinds import provider_class
from notifications.core.attempt import Outcome, Result
from notifications.core.conf import conf
from notifications.models import ProviderAccount
from notifications.operations import tried_recipients
from notifications.providers.accounts import candidate_of
from notifications.providers.instances import BadAccount, check
from notifications.recipients import suppressions

TEXT = "This is a test message, sent by the account that is tested."


def send_test(row: ProviderAccount, recipient: str, by: AbstractBaseUser) -> Outcome:
    """Send a test to a recipient, and give what the provider made of it.

    Nothing is stored, limited or retried. A success enables an endpoint that was disabled.
    Raises ``MalformedRecipient``, and ``TestRecipientRefused`` unless it is the person's own
    address or one that the settings list.
    """
    channel = CHANNELS[row.channel]
    message = Message(
        id=uuid4(),
        channel=row.channel,
        recipient=tried_recipients.allowed(row.channel, recipient, by),
        content={channel.subject_part or "subject": "Test", channel.body_part: TEXT},
        attempt=1,
        timeout=conf.provider_timeout,
    )
    candidate = candidate_of(row)
    if candidate.problem:
        return Outcome(Result.TRANSIENT, code="bad_account", detail=candidate.problem)
    try:
        check(candidate.account)
        provider = provider_class(row.kind)(candidate.account)
    except (BadAccount, ValueError, LookupError) as error:
        return Outcome(Result.TRANSIENT, code="bad_account", detail=str(error))
    try:
        outcome = provider.outcome_of(message)
        if outcome.result is Result.SENT:
            suppressions.lift_answering(message.channel, {message.recipient})
        return outcome
    finally:
        provider.close()
