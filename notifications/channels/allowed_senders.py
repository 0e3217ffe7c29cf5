"""Whose mail an account may send: its own sender's, and that of the senders it names."""

from collections.abc import Mapping
from typing import Any

from notifications.channels import addresses

SETTING: Mapping[str, str] = {
    "senders": "A list of further senders that from_email may name: shop@example.org, or "
    "@example.org for a whole domain."
}


def allows(settings: Mapping[str, Any], sender: str) -> bool:
    """Return whether mail may be sent as ``sender``; accounts without a sender allow any."""
    own = settings.get("from")
    if not own:
        return True
    address = addresses.mailbox(sender).address.lower()
    domain = address[address.rindex("@") :]
    if address == addresses.mailbox(own).address.lower():
        return True
    return any(sender.lower() in (address, domain) for sender in settings.get("senders", ()))


def problems(settings: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with an account's ``SETTING``."""
    given = settings.get("senders", [])
    if not isinstance(given, list):
        return ["senders: It must be a list."]
    return [f"senders: {wrong}" for sender in given if (wrong := _problem(sender))]


def _problem(sender: object) -> str:
    if not isinstance(sender, str):
        return "Each must be text."
    try:
        addresses.canonical(f"postmaster{sender}" if sender.startswith("@") else sender)
    except addresses.BadAddress as error:
        return f"{error} Give shop@example.org, or @example.org."
    return ""
