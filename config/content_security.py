"""A Content-Security-Policy on every answer: what a page may load, and from where.

Scripts come from our own files alone; none is written into a page. Unfold's library Alpine
evaluates the expressions of its attributes, for which it needs ``unsafe-eval``; Unfold and our own
pages set styles in attributes.
"""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from config.staff_login.settings import origin

Answer = Callable[[HttpRequest], HttpResponse]

HEADER = "Content-Security-Policy"
PAGE = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
# What is not a page: an answer of the API, a file.
NO_PAGE = {"default-src": "'none'", "frame-ancestors": "'none'", "sandbox": ""}
# Pages that show a mail as its recipient sees it, with the images that it names. It stands in a
# frame that runs no script.
SHOWS_MAIL = {
    "notifications_notification_change",
    "notifications_archivednotification_change",
    "templates_engine_templateversion_preview_page",
    "outbox-message",
}


def policy(answer: Answer) -> Answer:
    """Put the policy on each answer; a middleware."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = answer(request)
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        rules = PAGE if kind == "text/html" else NO_PAGE
        if request.resolver_match and request.resolver_match.url_name in SHOWS_MAIL:
            rules = {**rules, "img-src": "'self' data: https: http:"}
        if request.resolver_match and request.resolver_match.url_name == "account_login":
            issuer = origin(settings.ADMIN_OIDC_ISSUER)  # to which its form leads on
            rules = {**rules, "form-action": f"'self' {issuer}"} if rules is PAGE else rules
        text = "; ".join(f"{name} {value}".rstrip() for name, value in rules.items())
        response.headers.setdefault(HEADER, text)
        return response

    return middleware
