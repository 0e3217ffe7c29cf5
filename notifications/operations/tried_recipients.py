"""Whom a person's test messages may go to: the person, or who is on the list of the settings.

An address in one's own account is verified in that only an administrator can write it there.
"""

from fnmatch import fnmatchcase

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser

from notifications.channels import CHANNELS
from notifications.core.errors import MalformedRecipient, TestRecipientRefused


def allowed(channel: str, recipient: str, by: AbstractBaseUser) -> str:
    """Return the recipient as the channel keeps it.

    Raises ``MalformedRecipient``, and ``TestRecipientRefused`` if it is neither an address of
    this person nor on the list ``TEST_RECIPIENTS``.
    """
    address = CHANNELS[channel].clean_recipient(recipient)
    patterns = [*settings.TEST_RECIPIENTS, *([_literal(own)] if (own := _own(channel, by)) else [])]
    if not any(fnmatchcase(address.casefold(), pattern.casefold()) for pattern in patterns):
        raise TestRecipientRefused(
            "A test goes to your own address, or to one that TEST_RECIPIENTS lists.",
            field="recipient",
            hint="An administrator can write your address in your account, or set "
            "TEST_RECIPIENTS=+436641234567,*@example.org.",
        )
    return address


def _own(channel: str, by: AbstractBaseUser) -> str:
    """Return this person's address on a channel; empty if there is none."""
    address = getattr(by, "email", "") if channel == "email" else ""
    try:
        return CHANNELS[channel].clean_recipient(address) if address else ""
    except MalformedRecipient:
        return ""


def _literal(address: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in address)
