"""API keys: made, found, noted, rotated. A key is shown once; only its hash is kept.

It looks like ``ntf_live_<prefix>_<secret>``. The prefix finds the row by its index. The secret
has 256 random bits, so a plain SHA-256 of it cannot be guessed from the hash (no slow hash is
needed, as it is for passwords that people choose).
"""

import re
import secrets
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q

from notifications.core.world import DEFAULT_PROJECT
from notifications.db import clock
from notifications.models import ApiKey
from notifications.submission import projects

_SHAPE = re.compile(r"ntf_(?:live|test)_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_NOTED_EVERY = timedelta(minutes=1)

# A process believes a key that it read for so long: a revoked one ends everywhere within this.
FRESH_SECONDS = 1.0
_read: dict[str, tuple[float, ApiKey]] = {}


class NewKey(NamedTuple):
    """A key's row, and the one chance to see the key."""

    row: ApiKey
    token: str


def create(
    name: str,
    *,
    scopes: Iterable[str] = tuple(ApiKey.Scope),
    kind: str = ApiKey.Kind.LIVE,
    project: str = DEFAULT_PROJECT,
    expires_at: datetime | None = None,
    rate: int | None = None,
) -> NewKey:
    """Make a key; by default with every scope and without an end.

    Raises ``ValueError``, and ``UnknownProject``.
    """
    row = ApiKey(
        project=projects.check(project),
        name=name,
        kind=ApiKey.Kind(kind),
        scopes=sorted(ApiKey.Scope(scope).value for scope in set(scopes)),
        expires_at=expires_at,
        rate=rate,
    )
    return save_new(row)


def rotate(row: ApiKey, *, overlap: timedelta) -> NewKey:
    """Make a key that replaces this one.

    The old key stays valid for ``overlap``, but not longer than it would have been.
    """
    ends = clock.now() + overlap
    with transaction.atomic():
        new = save_new(
            ApiKey(
                project=row.project,
                name=row.name,
                kind=row.kind,
                scopes=row.scopes,
                expires_at=row.expires_at,
                rate=row.rate,
            )
        )
        ApiKey.objects.filter(pk=row.pk).update(replaced_by=new.row)
        ApiKey.objects.filter(pk=row.pk).exclude(expires_at__lt=ends).update(expires_at=ends)
    forget()
    return new


def revoke(row: ApiKey) -> None:
    """End a key: in this process at once, in the others within ``FRESH_SECONDS``."""
    ApiKey.objects.filter(pk=row.pk).update(expires_at=clock.now())
    forget()


def find(token: str) -> ApiKey | None:
    """Return the key that this token opens, unless there is none or it has ended."""
    shape = _SHAPE.fullmatch(token)
    if shape is None:
        return None
    row = with_prefix(shape[1])
    if row is None or not compare_digest(row.secret_hash, _hash(shape[2])):
        return None
    return row


def with_prefix(prefix: str) -> ApiKey | None:
    """Return the key with a prefix, unless it has ended. The caller checks its secret."""
    row = _row(prefix)
    return row if row is not None and row.is_valid(clock.now()) else None


def prefix_of(token: str) -> str:
    """Return the part of a token that may be told, empty for what does not look like a key."""
    shape = _SHAPE.fullmatch(token)
    return shape[1] if shape else ""


def note_use(row: ApiKey) -> None:
    """Keep when it was used last, written at most once a minute."""
    now = clock.now()
    if row.last_used_at is None or now - row.last_used_at >= _NOTED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - _NOTED_EVERY)
        ApiKey.objects.filter(stale, pk=row.pk).update(last_used_at=now)
        row.last_used_at = now


def forget() -> None:
    """Read every key again at its next use."""
    _read.clear()


def _row(prefix: str) -> ApiKey | None:
    """Read a key, at most ``FRESH_SECONDS`` ago."""
    read_at, row = _read.get(prefix, (float("-inf"), None))
    if row is None or time.monotonic() - read_at >= FRESH_SECONDS:
        read_at = time.monotonic()
        row = ApiKey.objects.filter(prefix=prefix).first()
        if row is None:
            _read.pop(prefix, None)
        else:
            _read[prefix] = (read_at, row)
    return row


def save_new(row: ApiKey) -> NewKey:
    """Give a row that is not stored yet its secret, and store it."""
    row.prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row.secret_hash = _hash(secret)
    row.save()
    return NewKey(row, f"ntf_{row.kind}_{row.prefix}_{secret}")


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
