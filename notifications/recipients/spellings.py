"""A recipient as people write it, and as each channel would have kept it."""

from notifications.channels import CHANNELS
from notifications.core.errors import MalformedRecipient


def of(recipient: str, channel: str = "") -> set[str]:
    """Return the forms in which it may be kept: ``+39 333 …`` is kept without spaces.

    Without a channel these are the forms of every channel.
    """
    spellings = {recipient}
    for one in [CHANNELS[channel]] if channel in CHANNELS else CHANNELS.values():
        try:
            spellings.add(one.clean_recipient(recipient))
        except MalformedRecipient:
            continue
    return spellings | {spelling.lower() for spelling in spellings if "@" in spelling}
