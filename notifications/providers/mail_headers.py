"""Headers by which mail programs know what sort of mail it is, and judge its sender."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from notifications.channels import addresses
from notifications.channels.base import setting_problem

# Everything that we send is sent by a program, in answer to no mail (RFC 3834, 5).
AUTOMATIC: Mapping[str, str] = {"Auto-Submitted": "auto-generated"}

LONGEST_LIST_ID = 255  # characters (RFC 2919, 2)
SENDER_ID = re.compile(r"[A-Za-z0-9._-]{5,15}")  # https://support.google.com/a/answer/6254652
SETTINGS: Mapping[str, str] = {
    "list_domain": "The domain of List-Id on marketing mail; the sender's by default.",
    "feedback_id": "The sender in Feedback-ID on marketing mail; made of its domain by default.",
}


class Identity(NamedTuple):
    """How an account's marketing mail is told apart: the domain of its lists, the sender's id."""

    list_domain: str
    feedback_id: str


def identity(settings: Mapping[str, Any], sender: addresses.Sender) -> Identity:
    """Read an account's settings; what they leave out follows from the sender's domain."""
    domain = sender.address.rpartition("@")[2]
    return Identity(
        settings.get("list_domain") or _named(domain),
        settings.get("feedback_id") or _sender_id(domain),
    )


def of_list(name: str, identity: Identity) -> dict[str, str]:
    """Return the headers of mail to a list: a marketing template's name, none for ``""``.

    Mailbox providers show complaints by Feedback-ID, and people filter by List-Id (RFC 2919).
    """
    if not name:
        return {}
    room = LONGEST_LIST_ID - len(identity.list_domain) - 1
    label = name[: max(room, 1)].rstrip("._-")
    return {
        "List-Id": f"<{label}.{identity.list_domain}>",
        "Feedback-ID": f"{name}:marketing:{identity.feedback_id}",
    }


def problems(settings: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with an account's ``SETTINGS``."""
    checks = {"list_domain": _check_domain, "feedback_id": _check_sender_id}
    problems = (setting_problem(n, settings, check) for n, check in checks.items() if n in settings)
    return [*filter(None, problems)]


def _named(domain: str) -> str:
    """Write an address literal as a name, as List-Id takes dots and atoms only."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", domain).strip("-")


def _sender_id(domain: str) -> str:
    return _named(domain)[:15].strip(".-").ljust(5, "-")


def _check_domain(text: str) -> None:
    if addresses.sender(f"list@{text}").address != f"list@{text}":
        raise ValueError("It must be a domain name in lower case.")


def _check_sender_id(text: str) -> None:
    if not SENDER_ID.fullmatch(text):
        raise ValueError("It must have 5 to 15 letters, digits, dots, hyphens or underscores.")
