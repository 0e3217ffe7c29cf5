"""What django-allauth asks of a project: who may come in, and how secrets are kept."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import structlog
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q
from django.http import HttpRequest
from django.shortcuts import render

from config.staff_login import issuer

log = structlog.get_logger(__name__)


class Accounts(DefaultAccountAdapter):  # type: ignore[misc]  # allauth is skipped by mypy
    """Nobody makes an account: an administrator does."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


class SecondFactors(DefaultMFAAdapter):  # type: ignore[misc]  # as above
    """Secrets of second factors are encrypted by ``SECRET_KEY``."""

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _cipher().decrypt(encrypted_text.encode()).decode()

    def can_delete_authenticator(self, authenticator: Any) -> bool:
        return settings.ADMIN_SECOND_FACTOR != "required"


class Federated(DefaultSocialAccountAdapter):  # type: ignore[misc]  # as above
    """Whom the issuer names comes in as the member of staff with the same verified address."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return False

    def get_requests_session(self) -> issuer.Session:
        """Return the session of all requests to the issuer (a hook of allauth)."""
        return issuer.Session(self.request)

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Tie a first login to a member of staff, or refuse it."""
        if sociallogin.state.get("process") == "connect":
            raise _refused(request, "connect")  # only an address ties a person to a login
        if sociallogin.is_existing:
            return
        verified = [
            address.email
            for address in sociallogin.email_addresses
            if address.verified in (True, "true")  # some issuers write "false"
        ]
        same = Q(pk__in=())
        for address in verified:
            same |= Q(email__iexact=address)
        staff = User.objects.filter(same, is_active=True, is_staff=True)[:2]
        if len(staff) != 1:
            raise _refused(request, "unknown")
        sociallogin.connect(request, staff[0])


def _refused(request: HttpRequest, why: str) -> ImmediateHttpResponse:
    log.warning("login_refused", address=request.META.get("REMOTE_ADDR", ""), sso=why)
    return ImmediateHttpResponse(render(request, "config/not_staff.html", status=403))


def _cipher() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = (sha256(f"second factor {key}".encode()).digest() for key in keys)
    return MultiFernet([Fernet(urlsafe_b64encode(digest)) for digest in digests])
