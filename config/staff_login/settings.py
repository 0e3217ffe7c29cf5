"""The settings of django-allauth, where the admin's login is by it."""

from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from notifications.core import extras

PROVIDER = "sso"  # in the address to which the issuer leads back

MIDDLEWARE = [
    "allauth.account.middleware.AccountMiddleware",
    "config.staff_login.second_factor.Required",
]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]


def installed() -> None:
    """Raise SystemExit where django-allauth is missing."""
    if not find_spec("allauth"):
        raise SystemExit(
            "ADMIN_OIDC_ISSUER and ADMIN_SECOND_FACTOR need django-allauth: "
            f"{extras.command('sso')}"
        )


def apps(issuer: str) -> list[str]:
    """Return the apps that are needed."""
    federated = ["allauth.socialaccount", "allauth.socialaccount.providers.openid_connect"]
    return ["allauth", "allauth.account", "allauth.mfa", *(federated if issuer else [])]


def options(issuer: str, client: tuple[str, str], title: str) -> dict[str, Any]:
    """Return django-allauth's settings. ``client`` has the id and the secret."""
    client_id, secret = client
    app = {
        "provider_id": PROVIDER,
        "name": title,
        "client_id": client_id,
        "secret": secret,
        "settings": {"server_url": issuer, "oauth_pkce_enabled": True},
    }
    return {
        "LOGIN_URL": "account_login",
        "ACCOUNT_ADAPTER": "config.staff_login.adapters.Accounts",
        "ACCOUNT_LOGIN_METHODS": {"username"},
        "ACCOUNT_SIGNUP_FIELDS": ["username*", "password1*"],
        "ACCOUNT_EMAIL_VERIFICATION": "none",  # an administrator writes the addresses
        "ACCOUNT_LOGOUT_REDIRECT_URL": "account_login",
        "ACCOUNT_SESSION_REMEMBER": False,
        # Those of config.login_throttle count for all processes together.
        "ACCOUNT_RATE_LIMITS": {"login": None, "login_failed": None},
        "MFA_ADAPTER": "config.staff_login.adapters.SecondFactors",
        "MFA_ALLOW_UNVERIFIED_EMAIL": True,
        "MFA_SUPPORTED_TYPES": ["totp", "recovery_codes"],
        "MFA_FORMS": {
            "authenticate": "config.staff_login.forms.AuthenticateForm",
            "reauthenticate": "config.staff_login.forms.ReauthenticateForm",
        },
        "MFA_TOTP_ISSUER": "Notifications",
        "MFA_TOTP_TOLERANCE": 1,  # half minutes that a clock may be off
        "SOCIALACCOUNT_ADAPTER": "config.staff_login.adapters.Federated",
        "SOCIALACCOUNT_PROVIDERS": {"openid_connect": {"APPS": [app]}} if issuer else {},
        "SOCIALACCOUNT_STORE_TOKENS": False,
    }


def origin(issuer: str) -> str:
    """Return the origin of an address, as a Content-Security-Policy names it."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}" if issuer else ""
