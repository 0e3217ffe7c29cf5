"""No field of a body, a query or a form takes long, whatever stands in it: each is tried.

The fields come from the OpenAPI document and from the admin's forms, so that a new one is tried
from its first day. The bound is of this thread's processor time; what is not linear in the size of
these inputs takes minutes.
"""

import copy
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.cache import cache as throttles
from django.db import transaction
from django.test import Client, RequestFactory
from notifications_python_client.authentication import create_jwt_token

from notifications.api.application import api
from notifications.api.examples import BODIES
from notifications.channels import CHANNELS
from notifications.core.world import LIVE
from notifications.gateways.govuk import client_keys
from notifications.gateways.govuk import urls as govuk
from notifications.models import ApiKey
from notifications.operations import api_keys
from tests.integration.notifications.api import worlds
from tests.integration.notifications.api.conftest import Caller
from tests.integration.notifications.api.test_walk import OPERATIONS, TABLE

pytestmark = pytest.mark.django_db

CPU_BOUND = 3.0
"""Seconds for one request."""
LONG = 25_000
"""Characters: what is not linear takes many seconds at this size."""
LARGEST = 1_000_000
"""Characters of the largest text that a field takes; a longer one is refused by its length."""
LONGEST_QUERY = 60_000
"""Characters; the web server takes 64 kB of them."""

OF_BODIES = ("a", "@", "1.", "<", "{{", "[", "\\")
OF_QUERIES = ("a", "@", "1.", "%")


def texts(size: int, parts: Iterable[str] = OF_BODIES) -> Iterator[str]:
    """Yield texts of this size that have matchers go back, each with an end that fits none."""
    for part in parts:
        yield part * (size // len(part)) + "\N{SNOWMAN}"


def values() -> Iterator[Any]:
    yield from texts(LONG)
    deep: Any = "x"
    for _ in range(200):
        deep = {"a": [deep]}
    yield deep
    yield [{"a": n} for n in range(5_000)]
    yield {f"name {n}": n for n in range(5_000)}
    yield int("9" * 4000)


def shown(value: Any) -> str:
    return f"{type(value).__name__} {value[:3] if isinstance(value, str) else ''}"


@pytest.fixture(autouse=True)
def _nothing_is_logged() -> Iterator[None]:
    logging.disable(logging.CRITICAL)  # each of thousands of refusals would be
    yield
    logging.disable(logging.NOTSET)


@contextmanager
def bounded(what: object) -> Iterator[None]:
    begun = time.thread_time()
    yield
    took = time.thread_time() - begun
    assert took < CPU_BOUND, f"{what}: {took:.1f} s"


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value in a body, the objects and lists among them."""
    if place:
        yield place
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from leaves(inner, (*place, key))


def with_at(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(body)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed


@cache
def document() -> dict[str, Any]:
    return dict(api.get_openapi_schema())


def documented() -> dict[str, Any]:
    return {
        operation["operationId"]: operation
        for methods in document()["paths"].values()
        for operation in methods.values()
    }


def resolved(schema: Any) -> Any:
    """Follow a schema's reference, also of one that may be null."""
    for part in (schema, *schema.get("anyOf", ())):
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            return resolved(document()["components"]["schemas"][name])
    return schema


def bodies(name: str, operation: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield each place of each example of a body, and of each field that the examples leave out."""
    content = operation["requestBody"]["content"]["application/json"]
    fields = resolved(content["schema"]).get("properties", {})
    seen = set()
    for example in content["examples"].values():
        body = example["value"]
        missing = dict.fromkeys(fields, "x") if isinstance(body, dict) else {}
        for place in leaves({**missing, **body} if isinstance(body, dict) else body):
            if place not in seen:
                seen.add(place)
                yield place, body
    assert {place[0] for place in seen} >= fields.keys(), name


@pytest.fixture
def world() -> Iterator[Any]:
    with transaction.atomic():
        key = api_keys.create("tests", scopes=set(ApiKey.Scope.values))
        yield worlds.furnish(LIVE), Caller(key.token)
        transaction.set_rollback(True)
    worlds.forget()


@pytest.fixture
def asked(world: Any) -> Callable[..., int]:
    """Make one request within the bound, undo it, and return the status."""
    rows, caller = world

    def ask(name: str, body: Any = None, query: Any = None, what: object = "") -> int:
        method, path = OPERATIONS[name]
        for key, value in rows.paths.get(TABLE[name].path, {}).items():
            path = path.replace(f"{{{key}}}", str(value)).replace(f"{{uuid:{key}}}", str(value))
        with transaction.atomic():
            with bounded((name, what)):
                answer = caller(method, path, body, query=query)
                b"".join(answer)
            transaction.set_rollback(True)
        throttles.clear()
        assert answer.status_code < 500, (name, what, answer.content[:300])
        return int(answer.status_code)

    return ask


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BODIES)
def test_every_field_of_every_body(name: str, asked: Callable[..., int]) -> None:
    for place, body in bodies(name, documented()[name]):
        for value in values():
            asked(name, with_at(body, place, value), what=(place, shown(value)))


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_field_that_a_channel_checks_in_its_own_way(
    channel: str, asked: Callable[..., int]
) -> None:
    body = {"channel": channel, "recipient": "x", "subject": "S", "body": "B", "test": True}
    for field in ("recipient", "subject", "body", "options"):
        for value in (*values(), *texts(LARGEST)):
            asked("create_notification", {**body, field: value}, what=(field, shown(value)))


def test_every_parameter_of_every_query(asked: Callable[..., int]) -> None:
    tried = 0
    for name, operation in documented().items():
        body = TABLE[name].body and {}
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query":
                for text in texts(LONGEST_QUERY, OF_QUERIES):
                    asked(name, body, {parameter["name"]: text}, what=parameter["name"])
                tried += 1
    assert tried > 30


def test_every_body_of_a_client_of_gov_uk_notify(world: Any) -> None:
    row = api_keys.create("clients").row
    token = client_keys.of(row)
    headers = {"Authorization": f"Bearer {create_jwt_token(token[-36:], token[-73:-37])}"}
    client = Client(raise_request_exception=False)
    fields = ("phone_number", "email_address", "template_id", "reference", "personalisation")
    body: dict[str, Any] = {
        "phone_number": "+447700900123",
        "email_address": "ada@example.org",
        "template_id": "11111111-2222-4333-8444-555555555555",
        "personalisation": {"name": "Ada"},
    }
    for pattern in govuk.urlpatterns:
        path = "/v2/" + str(pattern.pattern).replace("<uuid:notification_id>", body["template_id"])
        if "<" in path:
            path = path[: path.index("<")] + body["template_id"]
        for field in fields:
            for value in (*values(), {"name": "a" * LONG}):
                with bounded((path, field)):
                    changed = {**body, field: value}
                    answer = client.post(
                        path, changed, content_type="application/json", headers=headers
                    )
                assert answer.status_code < 500, (path, field)


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.label_lower)
def test_every_field_of_every_form(model: Any) -> None:
    request = RequestFactory().get("/")
    request.user = User.objects.create_superuser("boss")
    page = admin.site._registry[model]
    if not page.has_add_permission(request):
        return  # it has no form
    form = page.get_form(request)
    filled = [dict.fromkeys(form.base_fields, text) for text in texts(LONG)]
    alone = [{field: text} for field in form.base_fields for text in texts(LONG, OF_QUERIES)]
    for data in (*filled, *alone):  # alone, past what the others would refuse
        # Too deep for Python's json: the page refuses it (test_lookups.py).
        with transaction.atomic(), bounded((model, [*data][:1])), suppress(RecursionError):
            assert not form(data=data).is_valid() or len(data) == 1
