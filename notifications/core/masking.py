"""Masks for what identifies a person, for logs and for eyes without the permission."""

from scheduling.masking import without_addresses

__all__ = ["mask", "without_addresses"]


def mask(recipient: str) -> str:
    """Mask an address: distinguishable in a log, but of no use to reach a person.

    ``ada@example.com`` becomes ``a…@example.com`` and ``+393331234567`` becomes ``+39…67``.
    """
    name, at, domain = recipient.rpartition("@")
    if at and name:
        return f"{name[0]}…@{domain}"
    if len(recipient) <= 5:
        return "…"
    return f"{recipient[:3]}…{recipient[-2:]}"
