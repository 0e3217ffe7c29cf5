"""Who has a second factor, and that everybody has to have one where it is required."""

from collections.abc import Callable
from typing import Any

from allauth.mfa import signals
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from config.audit import log
from config.audit.log import Kind, Who

# Pages on which a second factor is set up, and where one leaves.
SETTING_UP = {
    *("mfa_activate_totp", "mfa_view_recovery_codes", "mfa_download_recovery_codes"),
    *("account_login", "account_reauthenticate", "account_logout", "logout", "jsi18n"),
}


class Required:
    """The middleware that leads a member of staff without a second factor to set one up."""

    def __init__(self, answer: Callable[[HttpRequest], HttpResponse]) -> None:
        self._answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._answer(request)

    def process_view(
        self, request: HttpRequest, _view: Any, _args: Any, _kwargs: Any
    ) -> HttpResponse | None:
        """Answer any other page by the way to that one."""
        match = request.resolver_match
        if (
            settings.ADMIN_SECOND_FACTOR != "required"
            or settings.SESSION_COOKIE_NAME not in request.COOKIES
            or (match is not None and match.url_name in SETTING_UP)
            or not request.user.is_authenticated
            or exists(request.user)
        ):
            return None
        return redirect("mfa_activate_totp")


def exists(user: User) -> bool:
    """Tell whether a person has a second factor."""
    totp = Authenticator.Type.TOTP
    there: bool = Authenticator.objects.filter(user_id=user.pk, type=totp).exists()
    return there


def connect() -> None:
    """Write to the audit log that one was set up or taken away."""
    signals.authenticator_added.connect(_added, weak=False)
    signals.authenticator_removed.connect(_removed, weak=False)


def _added(request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
    _record("second_factor.add", request, user, authenticator)


def _removed(request: HttpRequest, user: User, authenticator: Any, **_: Any) -> None:
    _record("second_factor.delete", request, user, authenticator)


def _record(act: str, request: HttpRequest, user: User, authenticator: Any) -> None:
    who = Who(Kind.PERSON, user.get_username(), str(user.pk))
    log.record(who, act, detail=authenticator.type, request_id=getattr(request, "id", ""))
