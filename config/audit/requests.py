"""Middleware that writes the acts of people and keys to the audit log: pages and operations alike.

A request that may change something is looked at before and after: the rows that its address or its
form names are read, and what became of them is written. A page or an operation that reveals
contents is written when it is read, by the same person or key once a minute for the same address.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models
from django.http import HttpRequest, HttpResponse, QueryDict

from config.audit import acts, log
from config.audit.log import Columns, Who
from notifications import admin_site
from scheduling import isolation

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
MOST_ROWS = 1000  # of one request, whose state before and after is written
AGAIN_AFTER = 60.0  # seconds until the same look at the same thing is written again
REMEMBERED = 10_000  # looks
SEE_CONTENT = "notifications.view_content"

_seen: OrderedDict[tuple[str, ...], float] = OrderedDict()

Row = tuple[str, str]  # model and key
Answer = Callable[[HttpRequest], HttpResponse]


class Act(NamedTuple):
    """What a request is about to do."""

    name: str
    model: type[models.Model] | None
    rows: list[Row]
    before: dict[Row, Columns]
    changes: bool


class Audit:
    """The audit middleware. It must be the last one, because it needs the user of the request."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._answer(request)
        act: Act | None = getattr(request, "act", None)
        if act is not None and response.status_code < 400:
            _write(request, act, response)
        return response

    def process_view(
        self, request: HttpRequest, _view: Any, _args: Any, kwargs: dict[str, Any]
    ) -> None:
        """Read what the request is about, before anything changes it."""
        request.act = _act_of(request, kwargs)  # type: ignore[attr-defined]


def connect() -> None:
    """Have admin classes tell of the rows that their acts change."""
    if note not in admin_site.listeners:
        admin_site.listeners.append(note)


def note(request: HttpRequest, row: models.Model, said: str) -> None:
    """Have an act of the admin name a row that it changed, and how."""
    noted = getattr(request, "noted_acts", None)
    if noted is None:
        noted = request.noted_acts = []  # type: ignore[attr-defined]
    noted.append((_row_of(row), said))


def _act_of(request: HttpRequest, kwargs: dict[str, Any]) -> Act | None:
    match = request.resolver_match
    if match is not None and request.path.startswith("/v2/"):
        return _client_operation(match.func.__name__, kwargs)
    if match is None or not match.url_name:
        return None
    if request.path.startswith("/api/"):
        return _operation(request, match.url_name, match.route, kwargs)
    if match.app_name == "admin" or match.url_name in acts.REVEALING_PAGES:
        return _page(request, match.url_name, kwargs)
    return None


def _operation(
    request: HttpRequest, url_name: str, route: str, kwargs: dict[str, Any]
) -> Act | None:
    name = operations().get((url_name, request.method or ""), "")
    changes = request.method not in SAFE
    unwritten = acts.UNWRITTEN_OPERATIONS if changes else acts.PLAIN_OPERATIONS
    if not name or name in unwritten:
        return None
    model, column = _object_of(route.removeprefix("api/v1/"))
    rows = _rows_by(model, {column: kwargs[column]}) if model and column in kwargs else []
    return _act(name, model, rows, changes=changes)


def _client_operation(name: str, kwargs: dict[str, Any]) -> Act | None:
    if name not in acts.REVEALING_CLIENT_OPERATIONS:
        return None
    model = apps.get_model("notifications.notification")
    rows = _rows_by(model, {"pk": kwargs["notification_id"]}) if kwargs else []
    return _act(name, model, rows, changes=False)


def _page(request: HttpRequest, url_name: str, kwargs: dict[str, Any]) -> Act | None:
    if not (request.user.is_authenticated and getattr(request.user, "is_staff", False)):
        return None
    model, verb = _model_and_verb(url_name)
    label = model._meta.label_lower if model else ""
    changes = request.method not in SAFE
    if changes:
        if verb in acts.HARMLESS_PAGES:
            return None
        verb = request.POST.get("action", verb) if verb == "changelist" else verb
    elif not (
        url_name in acts.REVEALING_PAGES
        or (
            label in acts.REVEALING and (request.user.has_perm(SEE_CONTENT) or label == "auth.user")
        )
    ):
        return None
    name = f"{model._meta.model_name}.{verb}" if model else url_name
    keys = request.POST.getlist(ACTION_CHECKBOX_NAME) if changes else []
    keys += [
        str(kwargs[argument])
        for argument in ("object_id", "version_id", "batch", "notification")
        if argument in kwargs
    ]
    rows = _rows_by(model, {"pk__in": keys}) if model and keys else []
    act = _act(name, model, rows, changes=changes)
    return act._replace(rows=[("", key) for key in keys]) if keys and not rows else act


def _act(
    name: str, model: type[models.Model] | None, rows: list[models.Model], *, changes: bool
) -> Act:
    before = {_row_of(row): _snapshot(row) for row in rows} if changes else {}
    return Act(name, model, [_row_of(row) for row in rows], before, changes)


def _write(request: HttpRequest, act: Act, response: HttpResponse) -> None:
    who = _who(request)
    if who is None:
        return
    id_: str = getattr(request, "id", "")
    if not act.changes:
        if _is_new(who, act, request):
            asked = f"asked by {', '.join(sorted(request.GET))}" if request.GET else ""
            of = act.rows[0] if act.rows else (_label(act.model), "")
            log.record(who, act.name, of=of, detail=asked, request_id=id_)
        return
    noted: dict[Row, list[str]] = {}
    for row, said in getattr(request, "noted_acts", ()):
        noted.setdefault(row, []).append(said)
    rows = [*dict.fromkeys((*act.before, *noted, *_made(act, response)))]
    after = {row: taken for row in rows if (taken := _now(row)) is not None}
    written = 0
    for row in rows:
        before, now = act.before.get(row), after.get(row)
        if row in noted or before != now:
            said = " ".join(noted.get(row, ()))
            log.record(who, act.name, of=row, before=before, after=now, detail=said, request_id=id_)
            written += 1
    reveals = act.name in acts.REVEALING_PAGES
    if not written and (response.status_code != 200 or reveals or who.kind is log.Kind.KEY):
        of = act.rows[0] if act.rows else (_label(act.model), "")
        log.record(who, act.name, of=of, detail=_form(request), request_id=id_)


def _who(request: HttpRequest) -> Who | None:
    key = getattr(request, "auth", None)
    if key is not None:
        return Who(log.Kind.KEY, key.name, key.prefix)
    user = request.user
    if not user.is_authenticated:
        return None
    return Who(log.Kind.PERSON, user.get_username(), str(user.pk))


def _is_new(who: Who, act: Act, request: HttpRequest) -> bool:
    """Return whether this look was not written within the last minute by this process."""
    look = (who.kind, who.id, act.name, request.get_full_path())
    now = time.monotonic()
    if _seen.get(look, float("-inf")) > now - AGAIN_AFTER:
        return False
    _seen[look] = now
    _seen.move_to_end(look)
    while len(_seen) > REMEMBERED:
        _seen.popitem(last=False)
    return True


def _form(request: HttpRequest) -> str:
    """Return the fields of a form, without their values."""
    given: QueryDict = request.POST
    names = sorted(set(given) - {"csrfmiddlewaretoken", "action", ACTION_CHECKBOX_NAME, "index"})
    return f"with {', '.join(names)}" if names else ""


def _made(act: Act, response: HttpResponse) -> Iterable[Row]:
    """Return the row that an operation of the API has made, by its answer."""
    if act.model is None or act.rows or "json" not in response.headers.get("Content-Type", ""):
        return
    answer = json.loads(response.content) if not response.streaming and response.content else None
    id_ = answer.get("id") if isinstance(answer, dict) else None
    if id_ is not None:
        yield _label(act.model), str(id_)


def _now(row: Row) -> Columns | None:
    label, key = row
    for instance in _rows_by(apps.get_model(label), {"pk": key}):
        return _snapshot(instance)
    return None


def _snapshot(row: models.Model) -> Columns:
    """Return a row's columns, and those of the rows that its page edits beside it."""
    taken = log.snapshot(row)
    page = admin.site._registry.get(type(row))  # noqa: SLF001 -- Django has no public way to ask
    for inline in getattr(page, "inlines", ()):
        if inline.model._meta.label_lower in acts.EDITED_BESIDE:
            names = [
                field.name
                for field in inline.model._meta.concrete_fields
                if field.remote_field and isinstance(row, field.remote_field.model)
            ]
            beside = _rows_by(inline.model, {names[0]: row.pk})
            taken[inline.model._meta.model_name] = [log.snapshot(row) for row in beside]
    return taken


def _rows_by(model: type[models.Model], by: dict[str, Any]) -> list[models.Model]:
    try:
        return list(model._base_manager.filter(**by)[:MOST_ROWS])  # noqa: SLF001 -- as above
    except Exception as error:  # an id that is none, or a row that cannot be read
        if isolation.concerns_everybody(error):
            raise
        return []


def _row_of(row: models.Model) -> Row:
    return row._meta.label_lower, str(row.pk)


def _label(model: type[models.Model] | None) -> str:
    return model._meta.label_lower if model else ""


@cache
def _model_and_verb(url_name: str) -> tuple[type[models.Model] | None, str]:
    """Read a page's name: ``notifications_hold_add`` is the model's page for adding."""
    registered = sorted(admin.site._registry, key=lambda model: -len(model._meta.label_lower))  # noqa: SLF001 -- as above
    for model in registered:
        prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
        if url_name.startswith(prefix):
            return model, url_name.removeprefix(prefix)
    beside = {
        "outbox-message": "notifications.outboxmessage",
        "batch-errors": "notifications.batch",
    }
    if url_name in beside:
        return apps.get_model(beside[url_name]), "view"
    return None, url_name


@cache
def _object_of(route: str) -> tuple[type[models.Model] | None, str]:
    for prefix, label, column in acts.OBJECTS:
        if route == prefix or route.startswith(f"{prefix}/"):
            return apps.get_model(label), column
    return None, ""


@cache
def operations() -> dict[tuple[str, str], str]:
    """Return the API's operations by the name of their URL, which several share, and method."""
    from notifications.api.application import api  # noqa: PLC0415 -- needs the apps

    return {
        (view.operations[0].view_func.__name__, method): operation.view_func.__name__
        for _, router in api._routers  # noqa: SLF001 -- ninja has no public list of operations
        for view in router.path_operations.values()
        for operation in view.operations
        for method in operation.methods
    }
