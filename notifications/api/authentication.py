"""Who calls, whether they may, and how often: asked before anything else of a request is read."""

from typing import Any

from django.http import HttpRequest
from ninja.security.http import HttpAuthBase

from notifications.api import keys, limits
from notifications.api.problems import Problem
from notifications.models import ApiKey

_HINT = "Send it as Authorization: Bearer KEY; manage.py create_api_key NAME makes one."


class Key(HttpAuthBase):
    """An API key with one scope, sent as ``Authorization: Bearer``."""

    openapi_scheme = "bearer"

    def __init__(self, scope: str) -> None:
        self.scope = ApiKey.Scope(scope)
        super().__init__()

    def __call__(self, request: HttpRequest) -> ApiKey:
        """Give the key. Raises ``Problem``: 401, 403 or 429."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Problem("missing-key", hint=_HINT)
        key = keys.find(token.strip())
        if key is None:
            raise Problem("invalid-key", hint=_HINT)
        if self.scope not in key.scopes:
            raise Problem("missing-scope", f"It needs the scope {self.scope.value!r}.")
        wait = limits.take(key)
        if wait:
            raise Problem("too-many-requests", retry_after=wait)
        keys.note_use(key)
        return key


def key_of(request: HttpRequest) -> ApiKey:
    """Give the key that this request came with."""
    auth: Any = request.auth  # type: ignore[attr-defined]  # set by ninja
    if not isinstance(auth, ApiKey):
        raise TypeError("This request was not authenticated.")
    return auth


def is_test(request: HttpRequest) -> bool:
    """Tell whether this request came with a test key, whose sends only the simulator gets."""
    return key_of(request).kind == ApiKey.Kind.TEST


def refuse_live(request: HttpRequest, *, test: bool) -> None:
    """Keep a test key from sending for real. Raises ``Problem`` 403."""
    if is_test(request) and not test:
        raise Problem("forbidden", "A test key cannot have anything sent that is no test itself.")


SEND, READ, MANAGE, REPLAY = (Key(scope) for scope in ApiKey.Scope)
