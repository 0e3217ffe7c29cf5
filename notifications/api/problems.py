"""Problem documents (RFC 9457): the one form in which the API says no."""

import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse

from notifications import metrics

CONTENT_TYPE = "application/problem+json"
PATH = "/api/v1/problems/"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: a status, and what it means, in a sentence that never changes.

    ``hint`` says what to do where the problem itself does not.
    """

    status: int
    title: str
    hint: str = ""


# The last part of ``type``, which programs may rely on, and what stands behind it.
KINDS: dict[str, Kind] = {
    "malformed-body": Kind(400, "The body cannot be read."),
    "bad-request": Kind(400, "The request cannot be understood."),
    "missing-key": Kind(401, "There is no API key in the request."),
    "invalid-key": Kind(401, "This API key is unknown or has expired."),
    "missing-scope": Kind(
        403,
        "This API key may not do that.",
        "Use a key with that scope: manage.py create_api_key NAME --scopes makes one.",
    ),
    "https-required": Kind(
        403,
        "This address takes requests by HTTPS only.",
        "Use https://, and a new key: others could read what was sent by http://. "
        "Behind a proxy, set PROXY_SSL_HEADER to the header that says that TLS was used.",
    ),
    "forbidden": Kind(403, "That is not allowed."),
    "not-found": Kind(404, "Nothing has this id or address."),
    "method-not-allowed": Kind(405, "This address does not allow that method."),
    "idempotency-conflict": Kind(409, "The idempotency key was used before, with other content."),
    "conflict": Kind(409, "Its present state does not allow that."),
    "replay-refused": Kind(409, "It cannot be sent again."),
    "changed-meanwhile": Kind(412, "It was changed after you read it."),
    "body-too-large": Kind(413, "The body is larger than allowed.", "Send it in several parts."),
    "unsupported-media-type": Kind(415, "The body's content type is not supported."),
    "invalid-request": Kind(422, "A field is missing, unknown or malformed."),
    "unknown-argument": Kind(422, "There is no such field."),
    "unknown-account": Kind(422, "The channel has no provider account of this name."),
    "unknown-category": Kind(422, "The project has no category of this name."),
    "unknown-channel": Kind(422, "There is no such channel."),
    "no-provider": Kind(422, "No account serves this channel."),
    "unknown-priority": Kind(422, "There is no such priority."),
    "unknown-project": Kind(422, "The project does not exist, or the key may not use it."),
    "unknown-guarantee": Kind(422, "There is no such guarantee."),
    "unknown-template": Kind(422, "No published template has this name and channel."),
    "invalid-context": Kind(422, "The context does not fit the template."),
    "missing-content": Kind(422, "There is nothing to send, or both a template and a text."),
    "malformed-recipient": Kind(422, "The recipient is not an address of its channel."),
    "unknown-recipient": Kind(
        422, "There is no stored recipient with this id, or it has no address of the channel."
    ),
    "unknown-audience": Kind(422, "The project has no audience of this name."),
    "invalid-filter": Kind(422, "The filter of the audience is not valid."),
    "unindexed-filter": Kind(422, "No index serves the filter of the audience."),
    "filter-too-slow": Kind(
        422,
        "The database takes too long to find whom the filter matches.",
        "A retry takes as long. Use fewer conditions and values, and add a condition that few "
        "recipients match.",
    ),
    "query-too-slow": Kind(
        422,
        "The database takes too long to find what was asked for.",
        "A retry takes as long. Ask for less: a shorter time range or a narrower filter.",
    ),
    "invalid-window": Kind(422, "The delivery window never opens."),
    "unknown-chain": Kind(422, "There is no such chain."),
    "invalid-chain": Kind(422, "The chain has no step, too many, or one that would never be sent."),
    "invalid-time": Kind(422, "The due time or the expiry is malformed or impossible."),
    "invalid-retry-policy": Kind(
        422, "The retry policy has an unknown field or an impossible value."
    ),
    "invalid-field": Kind(422, "A field has the wrong type, or a value that cannot be stored."),
    "invalid-template": Kind(422, "The template's source is not valid."),
    "unrenderable": Kind(422, "The template cannot be rendered with this context."),
    "invalid-job": Kind(422, "The job does not fit its schema."),
    "handler-not-allowed": Kind(422, "This task may not be scheduled by name."),
    "refused-by-database": Kind(
        422,
        "The database refuses this row.",
        "A retry does not help. Tell the operator the request_id: the log has the error.",
    ),
    "too-many-requests": Kind(
        429,
        "This API key, or this address by wrong keys, has reached its rate limit.",
        "Wait for the seconds in Retry-After, or ask for a higher rate limit of the key.",
    ),
    "internal-error": Kind(500, "Something went wrong on the server."),
    "database-away": Kind(503, "The database is not available now."),
}
# For an answer that another part of the web stack has given.
_BY_STATUS = {
    400: "bad-request",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    500: "internal-error",
    503: "database-away",
}


class Problem(Exception):
    """Ends a request with a problem document.

    ``field`` names the offending part of the request and ``hint`` says how to mend it;
    ``retry_after`` is in seconds.
    """

    def __init__(
        self,
        kind: str,
        detail: str = "",
        *,
        field: str = "",
        hint: str = "",
        errors: list[dict[str, str]] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail or KINDS[kind].title)
        self.kind, self.detail, self.field, self.hint = kind, detail, field, hint
        self.errors, self.retry_after = errors, retry_after


def missing_scope(detail: str, scope: str) -> Problem:
    """Return the problem of a key that lacks a scope, with the command that makes one with it."""
    hint = f"Use a key with that scope: manage.py create_api_key NAME --scopes {scope} makes one."
    return Problem("missing-scope", detail, hint=hint)


def answer(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Make the response for a problem, and count it."""
    metrics.problem(problem.kind)
    kind = KINDS[problem.kind]
    document: dict[str, Any] = {
        "type": PATH + problem.kind,
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "field": problem.field,
        "hint": problem.hint or kind.hint,
        "errors": problem.errors,
        "request_id": getattr(request, "id", None),
    }
    body = json.dumps({name: value for name, value in document.items() if value})
    response = HttpResponse(body, content_type=CONTENT_TYPE, status=kind.status)
    if kind.status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    if problem.retry_after is not None:
        response["Retry-After"] = whole_seconds(problem.retry_after)
    return response


def whole_seconds(seconds: float) -> str:
    """Write seconds as ``Retry-After`` has them (RFC 9110, 10.2.3)."""
    return str(math.ceil(seconds))


def for_status(status: int) -> Problem:
    """Return the problem that stands for a plain HTTP status."""
    kind = _BY_STATUS.get(status)
    if kind is None:
        kind = "bad-request" if status < 500 else "internal-error"
    return Problem(kind)
