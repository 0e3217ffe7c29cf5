"""A recipient as people write it, and as each channel would have kept it."""

from notifications.channels import CHANNELS
from notifications.core.errors import MalformedRecipient


def of(recipient: str) -> set[str]:
    """Return the forms in which it may be kept: ``+39 333 …`` is kept without spaces."""
    spellings = {recipient}
    for channel in CHANNELS.values():
        try:
            spellings.add(channel.clean_recipient(recipient))
        except MalformedRecipient:
            continue
    return spellings
