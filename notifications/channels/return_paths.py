"""Return paths: a sender of the envelope for each mail, by which its bounces are told apart (VERP).

``bounces@shop.example`` becomes ``bounces+<token>@shop.example``. The token is the
notification's id with a signature, in letters that keep their meaning whatever their case.
"""

import hmac
from base64 import b32decode, b32encode
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings

from notifications.channels import addresses
from notifications.channels.base import setting_problem

SETTING: Mapping[str, str] = {
    "return_path": "Where bounces go, like bounces@shop.example; each mail has its own "
    "bounces+…@shop.example. The sender by default."
}
SIGNATURE = 5  # bytes
TOKEN = 34  # letters of a token: 16 bytes of an id and the signature, in base32
LONGEST_LOCAL = addresses.LONGEST_LOCAL - TOKEN - 1


def of_account(given: Mapping[str, Any]) -> str:
    """Return an account's return path as servers are told it, ``""`` for none."""
    return addresses.wire(given["return_path"]) if given.get("return_path") else ""


def of_mail(return_path: str, notification_id: UUID) -> str:
    """Return the envelope's sender of one notification's mail."""
    local, _, domain = return_path.rpartition("@")
    return f"{local}+{_token(notification_id, settings.SECRET_KEY)}@{domain}"


def read(address: str) -> UUID | None:
    """Return the notification that a return path was made for; None for any other address."""
    token = address.strip().strip("<>").rpartition("@")[0].rpartition("+")[2].lower()
    if len(token) != TOKEN:
        return None
    try:
        octets = b32decode(token.upper() + "======")
    except ValueError:
        return None
    id_ = UUID(bytes=octets[:16])
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    is_ours = any(hmac.compare_digest(token, _token(id_, key)) for key in keys)
    return id_ if is_ours else None


def problems(given: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with an account's ``SETTING``."""
    if not given.get("return_path"):
        return []
    return [*filter(None, [setting_problem("return_path", given, _check)])]


def _check(text: str) -> None:
    sender = addresses.sender(text)
    if sender.name or len(sender.address.rpartition("@")[0]) > LONGEST_LOCAL:
        raise ValueError(
            f"It must be an address alone, with at most {LONGEST_LOCAL} letters before the @."
        )


def _token(id_: UUID, key: str) -> str:
    signature = hmac.digest(key.encode(), b"return path " + id_.bytes, "sha256")[:SIGNATURE]
    return b32encode(id_.bytes + signature).decode().rstrip("=").lower()
