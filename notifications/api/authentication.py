"""Who calls, whether they may, and how often: asked before anything else of a request is read."""

from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from ninja.security.http import HttpAuthBase

from notifications.api import limits
from notifications.api.problems import Problem, missing_scope
from notifications.core.world import World
from notifications.models import ApiKey
from notifications.models.project import within
from notifications.operations import api_keys

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Model)

_SCHEME = "bearer "
_HINT = "Send it as Authorization: Bearer KEY; manage.py create_api_key NAME makes one."


class Key(HttpAuthBase):
    """An API key with one scope, sent as ``Authorization: Bearer``."""

    openapi_scheme = "bearer"

    def __init__(self, scope: ApiKey.Scope) -> None:
        self.scope = scope
        super().__init__()

    def __call__(self, request: HttpRequest) -> ApiKey:
        """Return the key. Raises ``Problem``: 401, 403 or 429."""
        return permit(request, self.scope, api_keys.find)


def permit(
    request: HttpRequest, scope: ApiKey.Scope, find: Callable[[str], ApiKey | None]
) -> ApiKey:
    """Return the key that ``find`` finds by the bearer's token, if it may do this now.

    Raises ``Problem``: 401, 403 or 429.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem("missing-key", hint=_HINT)
    token = token.strip()
    # A page that asks for the key alone is often given the whole header's value.
    if token[: len(_SCHEME)].lower() == _SCHEME:
        token = token[len(_SCHEME) :].strip()
    key = find(token)
    if key is None:
        raise _refused(request, token)
    if scope not in key.scopes:
        raise missing_scope(f"It needs the scope {scope.value!r}.", scope.value)
    wait = limits.take(key)
    if wait:
        raise Problem("too-many-requests", retry_after=wait)
    api_keys.note_use(key)
    return key


def _refused(request: HttpRequest, token: str) -> Problem:
    """Log a key that is none, and say no: slower to an address that tries many.

    A key that is one is never held up by those that were tried from where it comes.
    """
    address = str(request.META.get("REMOTE_ADDR", ""))
    wait = limits.take_refused(address)
    if wait:
        return Problem("too-many-requests", "Too many wrong keys came from here.", retry_after=wait)
    log.warning("api_key_refused", address=address, prefix=api_keys.prefix_of(token))
    return Problem("invalid-key", hint=_HINT)


def key_of(request: HttpRequest) -> ApiKey:
    """Return the key that this request came with."""
    auth: Any = request.auth  # type: ignore[attr-defined]  # set by ninja
    if not isinstance(auth, ApiKey):
        raise TypeError("This request was not authenticated.")
    return auth


def world_of(request: HttpRequest) -> World:
    """Return what this request may see and touch: a project, or the tests of one."""
    return key_of(request).world


def mine(rows: "QuerySet[M]", request: HttpRequest) -> "QuerySet[M]":
    """Narrow rows to what this request may see and touch; the others are not there for it."""
    return within(rows, world_of(request))
