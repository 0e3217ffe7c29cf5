"""A test message through one account, also a disabled one, before anybody relies on it."""

from uuid import uuid4

from notifications import conf
from notifications.accounts import candidate_of
from notifications.channels import CHANNELS
from notifications.channels.base import Message
from notifications.kinds import provider_class
from notifications.models import ProviderAccount
from notifications.providers import BadAccount, check
from notifications.retry import Outcome, Result

TEXT = "This is a test message. It came by the account that was to be tried."


def send_test(row: ProviderAccount, recipient: str) -> Outcome:
    """Send a test to a recipient, and give what the provider made of it.

    Nothing is stored, limited or retried. Raises ``MalformedRecipient``.
    """
    channel = CHANNELS[row.channel]
    message = Message(
        id=uuid4(),
        channel=row.channel,
        recipient=channel.clean_recipient(recipient),
        content={channel.subject_part or "subject": "Test", channel.body_part: TEXT},
        attempt=1,
        timeout=conf.get("PROVIDER_TIMEOUT"),
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
        return provider.outcome_of(message)
    finally:
        provider.close()
