"""The pages of django-allauth that are open, and the admin's login, which leads to them.

The others are not found: nobody makes an account or writes an address of their own, since the
address of a member of staff says where tests go.
"""

from allauth import urls as all_of_them
from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver

OPEN = {
    *("account_login", "account_logout", "account_reauthenticate", "account_inactive"),
    *("mfa_authenticate", "mfa_reauthenticate", "mfa_index"),
    *("mfa_activate_totp", "mfa_deactivate_totp"),
    *("mfa_view_recovery_codes", "mfa_generate_recovery_codes", "mfa_download_recovery_codes"),
    *("openid_connect_login", "openid_connect_callback"),
    *("socialaccount_login_cancelled", "socialaccount_login_error"),
}


def closed(request: HttpRequest, *_: object, **__: object) -> HttpResponse:
    """Answer that there is no such page."""
    raise Http404


LINKED = "account_reset_password"  # forms link to it where it has an address


def _close(patterns: list[URLPattern | URLResolver]) -> None:
    for pattern in [*patterns]:
        if isinstance(pattern, URLResolver):
            _close(pattern.url_patterns)
        elif pattern.name == LINKED:
            patterns.remove(pattern)
        elif pattern.name not in OPEN:
            pattern.callback = closed


def _take_over() -> None:
    """Have the admin ask for a login here, and leave allauth's tables out of it."""
    admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
    for model in [*admin.site._registry]:  # noqa: SLF001 -- Django has no public way to ask
        if model._meta.app_label in ("account", "mfa", "socialaccount"):
            admin.site.unregister(model)


urlpatterns = all_of_them.urlpatterns
_close(urlpatterns)
_take_over()
