"""Wrong passwords make the next try wait: counted by name and address, and by address alone.

Wrong codes of a second factor do, too, counted by person: who is asked for one knows the password.

The counts are in Redis, shared by all web processes; without one, or while it is away, each process
counts for itself. Each wrong password is in the log, and in the audit log where the name exists.
"""

import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import structlog
from django.contrib.auth import signals
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from notifications.db.shared_state import SharedStateAway, key_of, shared_state

WINDOW = 900  # seconds after which the count begins anew
MOST_OF_A_NAME = 10  # wrong passwords for one name from one address
MOST_OF_AN_ADDRESS = 200  # and from one address, which may be that of a proxy
MOST_CODES = 10  # wrong codes of one person's second factor
LOGINS = {"admin:login": "username", "account_login": "login"}  # pages, and their field
REMEMBERED = 10_000  # counts of this process

log = structlog.get_logger(__name__)
_counts: dict[str, tuple[float, int]] = {}


def connect() -> None:
    """Have this process count wrong passwords."""
    signals.user_login_failed.connect(_failed, weak=False)
    signals.user_logged_in.connect(_came, weak=False)


class Throttle:
    """The middleware that lets a try wait."""

    def __init__(self, answer: Callable[[HttpRequest], HttpResponse]) -> None:
        self._answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._answer(request)

    def process_view(
        self, request: HttpRequest, _view: Any, _args: Any, _kwargs: Any
    ) -> HttpResponse | None:
        """Answer a login that has to wait."""
        match = request.resolver_match
        field = LOGINS.get(match.view_name) if match is not None else None
        if field is None or request.method != "POST":
            return None
        if not must_wait(request, request.POST.get(field, "")):
            return None
        return TemplateResponse(
            request,
            "config/too_many_logins.html",
            {"minutes": WINDOW // 60},
            status=429,
            headers={"Retry-After": str(WINDOW)},
        )


def must_wait(request: HttpRequest, name: str) -> bool:
    """Return whether there were too many wrong passwords a while ago."""
    by_name, by_address = _keys(request, name)
    return _count(by_name) >= MOST_OF_A_NAME or _count(by_address) >= MOST_OF_AN_ADDRESS


def second_factor_must_wait(person: object) -> bool:
    """Tell whether there were too many wrong codes of this person a while ago."""
    return _count(f"login:code:{person}") >= MOST_CODES


def count_second_factor(person: object) -> None:
    """Count a wrong code."""
    _add(f"login:code:{person}")
    log.warning("login_refused", second_factor=True)


def _failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    if request is None:
        return
    for key in _keys(request, str(credentials.get("username", ""))):
        _add(key)
    log.warning("login_refused", address=request.META.get("REMOTE_ADDR", ""))


def _came(user: Any, request: HttpRequest | None = None, **_: Any) -> None:
    if request is not None:
        by_name, _by_address = _keys(request, user.get_username())
        _forget(by_name)


def _keys(request: HttpRequest, name: str) -> tuple[str, str]:
    address = request.META.get("REMOTE_ADDR", "")
    login = f"{address} {name.casefold()}".encode(errors="replace")
    digest = blake2b(login, digest_size=12).hexdigest()
    return f"login:name:{digest}", f"login:address:{address}"


def _count(key: str) -> int:
    try:
        with shared_state() as redis:
            return int(redis.get(key_of(key)) or 0)
    except SharedStateAway:
        until, count = _counts.get(key, (0.0, 0))
        return count if until > time.monotonic() else 0


def _add(key: str) -> None:
    try:
        with shared_state() as redis:
            whole = key_of(key)
            if redis.incr(whole) == 1:
                redis.expire(whole, WINDOW)
    except SharedStateAway:
        now = time.monotonic()
        until, count = _counts.pop(key, (0.0, 0))
        _counts[key] = (until, count + 1) if until > now else (now + WINDOW, 1)
        while len(_counts) > REMEMBERED:
            del _counts[next(iter(_counts))]


def _forget(key: str) -> None:
    _counts.pop(key, None)
    try:
        with shared_state() as redis:
            redis.delete(key_of(key))
    except SharedStateAway:
        return
