"""What each exception becomes on its way out of the API: a problem document, never HTML."""

import re
from collections.abc import Callable
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import DataError
from django.http import Http404, HttpRequest, HttpResponse
from ninja.errors import AuthenticationError, HttpError, ValidationError

from notifications.api import known_fields, problems
from notifications.api.fields import Input
from notifications.api.problems import Problem
from notifications.audiences.saved import FilterTooSlow
from notifications.core.errors import InvalidNotification, ReplayRefused
from scheduling import isolation, jobs, outages, watch
from templates_engine import errors as templates

log = structlog.get_logger(__name__)

# Seconds after which a caller may try again when the database is away.
DATABASE_RETRY = 5


def to_problem(error: Exception) -> Problem:
    """Return the problem for an exception. An unforeseen one reveals nothing of itself.

    What the database refuses of one row, while it takes others, is that row's problem.
    """
    outage = outages.of(error)
    if outage is not None and outage.server == outages.DATABASE:
        if isolation.is_of_a_row(error):
            return Problem("refused-by-database")
        return Problem("database-away", retry_after=DATABASE_RETRY)
    for kind, translate in _TRANSLATIONS:
        if isinstance(error, kind):
            return translate(error)
    return Problem("internal-error", hint="Tell the operator the request_id.")


def refuse(request: HttpRequest, error: Exception) -> HttpResponse:
    """Answer an exception with its problem document."""
    return problems.answer(request, judge(request, error))


def judge(request: HttpRequest, error: Exception) -> Problem:
    """Return an exception's problem; a fault of ours goes to the log in full."""
    if (kind := _too_slow(request, error)) is not None:
        log.warning("query_ended", path=request.path, problem=kind)
        return Problem(kind)
    problem = to_problem(error)
    watch.database_outage(error)
    if problem.kind == "internal-error":
        log.error("request_failed", path=request.path, exc_info=error)
    elif problem.kind == "refused-by-database":
        fault = isolation.fault_of(error, "request")
        log.error("row_refused", path=request.path, error=fault.error, at=fault.place)
    return problem


def _too_slow(request: HttpRequest, error: Exception) -> str | None:
    """Return the problem of a request whose own query takes too long, in a well database.

    A write is small: if it takes too long, the database is slow, and the write is tried again.
    """
    is_of_a_filter = isinstance(error, FilterTooSlow)
    if not (is_of_a_filter or request.method in ("GET", "HEAD")) or not watch.is_of_a_query(error):
        return None
    return "filter-too-slow" if is_of_a_filter else "query-too-slow"


def _invalid_notification(error: InvalidNotification) -> Problem:
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
    if kind not in problems.KINDS:  # a new error, which has no name of its own here yet
        kind = "invalid-field"
    all_ = [{"field": refusal.field, "message": str(refusal)} for refusal in (error, *error.others)]
    errors = all_ if error.others else None
    return Problem(kind, error.message, field=error.field, hint=error.hint, errors=errors)


def _invalid_request(error: ValidationError) -> Problem:
    errors = [
        {"field": ".".join(_place(refusal["loc"])), "message": _message(refusal)}
        for refusal in error.errors
    ]
    # One that is unknown first: it may be what was meant by another, which is missing.
    unknown = [number for number, refusal in enumerate(error.errors) if "known" in refusal]
    first = unknown[0] if unknown else 0
    known = ", ".join(error.errors[first].get("known", ()))
    return Problem(
        "invalid-request",
        errors[first]["message"],
        field=errors[first]["field"],
        hint=f"Known fields: {known}." if known else "",
        errors=errors,
    )


def _message(error: dict[str, Any]) -> str:
    """Return what is wrong with a field; pydantic would name a class of ours for an object."""
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "It must be a JSON object."
    if error["type"] == known_fields.UNKNOWN:
        return "There is no such field."
    return str(error["msg"])


def _invalid_template(error: templates.InvalidTemplate) -> Problem:
    field = f"variants.{error.locale}.{error.part}" if error.part else ""
    return Problem("invalid-template", str(error), field=field, hint=error.hint)


def _of_template(kind: str, field: str = "") -> Callable[[templates.TemplateError], Problem]:
    return lambda error: Problem(kind, str(error), field=field, hint=error.hint)


_KINDS = frozenset(("str", "int", "float", "bool", "none"))  # as pydantic names them


def _place(location: tuple[Any, ...]) -> list[str]:
    """Return the field as the caller knows it: without where it came in and our own names.

    For a field of several types pydantic adds the name of the one that it has tried.
    """
    inner = location[2:] if location[0] == "body" else location[1:]
    ours = _KINDS | {body.__name__ for body in Input.__subclasses__()}
    return [
        str(part)
        for number, part in enumerate(inner)
        if number == 0 or not (isinstance(part, str) and (part in ours or "[" in part))
    ] or [str(location[0])]


def _http_error(error: HttpError) -> Problem:
    if isinstance(error.__cause__, (Problem, RequestDataTooBig)):
        return to_problem(error.__cause__)  # ninja says 400 for whatever its parser raised
    if error.status_code == 400:
        return Problem("malformed-body", str(error))
    return problems.for_status(error.status_code)


_Kinds = type[Exception] | tuple[type[Exception], ...]
_TRANSLATIONS: list[tuple[_Kinds, Callable[..., Problem]]] = [
    (Problem, lambda error: error),
    (InvalidNotification, _invalid_notification),
    (ValidationError, _invalid_request),
    (AuthenticationError, lambda _: Problem("missing-key")),
    (HttpError, _http_error),
    (jobs.UnknownJob, lambda _: Problem("not-found", "The job was removed meanwhile.")),
    (ReplayRefused, lambda error: Problem("replay-refused", str(error))),
    (templates.InvalidTemplate, _invalid_template),
    (
        (templates.MissingVariables, templates.InvalidContext),
        _of_template("invalid-context", "context"),
    ),
    (templates.RenderError, _of_template("unrenderable")),
    ((templates.TemplateNotFound, templates.VersionNotFound), _of_template("not-found")),
    (
        (templates.TemplateNotPublished, templates.VersionImmutable, templates.NeedsColleague),
        _of_template("conflict"),
    ),
    # A number or a character that no database keeps, in a field that nobody else looks at.
    (
        (DataError, OverflowError, UnicodeEncodeError),
        lambda _: Problem("invalid-request", "A value is out of range, or cannot be stored."),
    ),
    (Http404, lambda _: Problem("not-found")),
    (RequestDataTooBig, lambda _: Problem("body-too-large")),
]
