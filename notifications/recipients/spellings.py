"""A recipient as people write it, and as each channel would have kept it."""

from django.db.models import Q, Value
from django.db.models.functions import Lower
from django.db.models.lookups import In

from notifications.channels import CHANNELS, addresses
from notifications.core.errors import MalformedRecipient
from notifications.models import NotificationRecord


def of(recipient: str, channel: str = "") -> set[str]:
    """Return the forms in which it may be kept: ``+39 333 …`` is kept without spaces.

    A mail address was once kept in quotes if it was given so. Without a channel these are the
    forms of every channel.
    """
    spellings = {recipient}
    for name in [channel] if channel in CHANNELS else CHANNELS:
        try:
            cleaned = CHANNELS[name].clean_recipient(recipient)
        except MalformedRecipient:
            continue
        spellings |= {cleaned, addresses.quoted(cleaned)} if name == "email" else {cleaned}
    return spellings | {spelling.lower() for spelling in spellings if "@" in spelling}


def kept(table: type[NotificationRecord], recipient: str, channel: str = "") -> set[str]:
    """Return the forms of ``of``, and a mail address in each letter case in which a table has it.

    A name before the @ is kept as it was given, for its server decides whether its case counts.
    """
    forms = of(recipient, channel)
    mails = [form for form in forms if "@" in form]
    if not mails or channel not in ("", "email"):
        return forms
    # The condition of a partial index: few addresses have capitals. A query of its own, since one
    # with an order would rather walk the rows in that order.
    with_capitals = ~Q(recipient=Lower("recipient"))
    rows = table._default_manager.filter(with_capitals, channel="email")  # noqa: SLF001 -- Django's name
    alike = rows.filter(In(Lower("recipient"), [Lower(Value(mail)) for mail in mails]))
    return forms | {*alike.order_by().values_list("recipient", flat=True).distinct()}
