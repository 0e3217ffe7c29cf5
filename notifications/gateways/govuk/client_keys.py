"""API keys in the form that the clients of GOV.UK Notify take: name, service id, secret.

A client signs each request by the secret (a JSON Web Token, RFC 7519, by HS256). The secret is
derived from the API key's row by HMAC with ``SECRET_KEY``, so none is stored.
"""

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils.crypto import salted_hmac

from notifications.models import ApiKey
from notifications.operations import api_keys

LEEWAY = 30  # seconds by which a client's clock may differ
_SALT = "notifications.gateways.govuk"


class TokenRefused(Exception):
    """The token cannot be used; the text says why, and nothing of the token."""


class _BadToken(Exception):
    """The text is not a token, or another secret has signed it."""


def of(row: ApiKey) -> str:
    """Return the key that a client of GOV.UK Notify is given instead of the API key itself."""
    return f"{row.kind}-{_service_id(row)}-{next(_secrets(row))}"


def find(token: str) -> ApiKey | None:
    """Return the API key that signed a token; None where there is none, or it has ended.

    Raises ``TokenRefused`` for one that a key signed, but at another time.
    """
    try:
        claims = _claims(token, options={"verify_signature": False})
        row = api_keys.with_prefix(_prefix(claims["iss"]))
    except (_BadToken, KeyError, ValueError):
        return None
    if row is None or not any(_is_signed(token, secret) for secret in _secrets(row)):
        return None
    _check_time(claims.get("iat"))
    return row


def _is_signed(token: str, secret: str) -> bool:
    unchecked = dict.fromkeys(("verify_iat", "verify_exp", "verify_nbf", "verify_aud"), False)
    try:
        _claims(token, secret, algorithms=["HS256"], options=unchecked)
    except _BadToken:
        return False
    return True


def _claims(token: str, secret: str = "", **how: Any) -> dict[str, Any]:
    """Return what a token claims. Raises ``_BadToken``."""
    import jwt  # noqa: PLC0415 -- it loads cryptography: 3 MB that a process without clients spares

    try:
        claims: dict[str, Any] = jwt.decode(token, secret, **how)
    except jwt.InvalidTokenError as error:
        raise _BadToken from error
    return claims


def _check_time(issued_at: Any) -> None:
    if isinstance(issued_at, bool) or not isinstance(issued_at, int | float):
        raise TokenRefused("Invalid token: iat field not provided")
    if not abs(time.time() - issued_at) <= LEEWAY:
        raise TokenRefused(f"Error: Your system clock must be accurate to within {LEEWAY} seconds")


def _service_id(row: ApiKey) -> str:
    """Write a prefix, 12 hexadecimal digits, as the UUID that clients send as the issuer."""
    return str(UUID(f"{row.prefix}40008000{'0' * 12}"))


def _prefix(service_id: Any) -> str:
    """Return the prefix that a service id was made of. Raises ``ValueError`` for any other."""
    return UUID(str(service_id)).hex[:12]


def _secrets(row: ApiKey) -> Iterator[str]:
    """Return the secrets that are valid; the first is by today's ``SECRET_KEY``."""
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        text = f"{row.prefix} {row.secret_hash}"
        made = salted_hmac(_SALT, text, secret=key, algorithm="sha256")
        yield str(UUID(bytes=made.digest()[:16]))
