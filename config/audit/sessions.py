"""Writes logins and logouts to the audit log, and wrong passwords for names that exist."""

from typing import Any

from django.contrib.auth import get_user_model, signals
from django.http import HttpRequest

from config.audit import log
from config.audit.log import Kind, Who


def connect() -> None:
    """Have this process notice them."""
    signals.user_logged_in.connect(_came, weak=False)
    signals.user_logged_out.connect(_went, weak=False)
    signals.user_login_failed.connect(_failed, weak=False)


def _came(user: Any, request: HttpRequest | None = None, **_: Any) -> None:
    _record("session.login", user, request)


def _went(user: Any, request: HttpRequest | None = None, **_: Any) -> None:
    if user is not None:
        _record("session.logout", user, request)


def _failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    # A name that nobody has may be a password that was typed into the wrong box.
    name = str(credentials.get("username", ""))
    user = get_user_model().objects.filter(username=name).first() if "\x00" not in name else None
    if user is not None:
        _record("session.refused", user, request)


def _record(act: str, user: Any, request: HttpRequest | None) -> None:
    who = Who(Kind.PERSON, user.get_username(), str(user.pk))
    log.record(who, act, request_id=getattr(request, "id", ""))
