"""Answers: documents as GOV.UK Notify writes them, and refusals in its form."""

from typing import Any

from django.http import HttpRequest, JsonResponse

from notifications import metrics
from notifications.api import problems, refusals
from notifications.api.problems import Problem
from notifications.gateways.govuk.client_keys import TokenRefused
from templates_engine.errors import MissingVariables


class Refused(Exception):
    """Ends a request with the status 400; ``error`` is a word of GOV.UK Notify's."""

    def __init__(self, message: str, error: str = "ValidationError") -> None:
        super().__init__(message)
        self.error = error


# What our problems are there: status, error and, unless it is the problem's own, message.
_AS_THERE: dict[str, tuple[int, str, str]] = {
    "missing-key": (401, "AuthError", "Unauthorized: authentication token must be provided"),
    "invalid-key": (403, "AuthError", "Invalid token: API key not found"),
    "missing-scope": (403, "BadRequestError", ""),
    "too-many-requests": (429, "RateLimitError", ""),
    "not-found": (404, "NoResultFound", "No result found"),
    "malformed-body": (400, "BadRequestError", "Invalid JSON supplied in POST data"),
    "internal-error": (500, "Exception", "Internal server error"),
    "database-away": (503, "Exception", "Internal server error"),
}


def refuse(request: HttpRequest, error: Exception) -> JsonResponse:
    """Answer an exception as GOV.UK Notify would, and count it as any other problem."""
    if isinstance(error, MissingVariables):
        error = Refused(f"Missing personalisation: {', '.join(error.names)}", "BadRequestError")
    if isinstance(error, Refused):
        metrics.problem("invalid-request")
        return _errors(400, error.error, str(error))
    if isinstance(error, TokenRefused):
        metrics.problem("invalid-key")
        return _errors(403, "AuthError", str(error))
    problem = refusals.judge(request, error)
    metrics.problem(problem.kind)
    status, name, message = _AS_THERE.get(
        problem.kind, (problems.KINDS[problem.kind].status, "BadRequestError", "")
    )
    if status in (409, 415, 422):
        status = 400
    answer = _errors(status, name, message or _said(problem))
    if problem.retry_after is not None:
        answer["Retry-After"] = problems.whole_seconds(problem.retry_after)
    return answer


def _said(problem: Problem) -> str:
    return " ".join(filter(None, [problem.field, str(problem), problem.hint]))


def _errors(status: int, error: str, message: str) -> JsonResponse:
    document: dict[str, Any] = {
        "status_code": status,
        "errors": [{"error": error, "message": message}],
    }
    return JsonResponse(document, status=status)
