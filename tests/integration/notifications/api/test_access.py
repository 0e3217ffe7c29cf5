"""Who may do what: every path of the document, with every kind of key."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from notifications.api.application import api
from notifications.api.authentication import Key
from notifications.models import ApiKey
from tests.integration.notifications.api.conftest import Caller

PUBLIC = {("get", "/problems/{name}")}
VALUES = {"id": "1", "number": "1", "name": "x"}


def operations() -> Iterator[tuple[str, str, str]]:
    """Return method, path and scope of every operation that needs a key."""
    for bound in api._get_bound_routers():
        for path, view in bound.path_operations.items():
            for operation in view.operations:
                for callback in operation.auth_callbacks:
                    assert isinstance(callback, Key)
                    full = "/" + bound.prefix.strip("/") + path
                    yield operation.methods[0], full, callback.scope.value


def address(path: str) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1].rpartition(":")[2]
        if path.startswith(("/notifications", "/batches", "/failed-runs")) and name == "id":
            return "11111111-2222-4333-8444-555555555555"
        return VALUES[name]

    return re.sub(r"\{([^}]+)\}", value, path)


OPERATIONS = sorted(operations())
each_operation = pytest.mark.parametrize(
    ("method", "path", "scope"), OPERATIONS, ids=[f"{m} {p}" for m, p, _ in OPERATIONS]
)


def test_every_path_needs_a_key_but_those_that_only_explain() -> None:
    document = api.get_openapi_schema()
    prefix = "/api/v1"
    open_ones = {
        (method, path.removeprefix(prefix))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if not operation.get("security")
    }
    assert open_ones == PUBLIC
    documented = sum(len(methods) for methods in document["paths"].values())
    assert documented == len(OPERATIONS) + len(PUBLIC)


@each_operation
def test_without_a_key(method: Any, path: Any, scope: Any, db: None) -> None:
    response = Caller(None)(method, address(path))
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response.json()["type"].endswith("/missing-key")


@each_operation
def test_with_a_wrong_key(
    method: Any, path: Any, scope: Any, caller: Callable[..., Caller]
) -> None:
    right = caller().headers["Authorization"].removeprefix("Bearer ")
    for wrong in (right[:-1] + ("A" if right[-1] != "A" else "B"), "nonsense", "\xff"):
        response = Caller(wrong)(method, address(path))
        assert response.status_code == 401
        assert response.json()["type"].endswith("/invalid-key")


@each_operation
def test_with_a_key_that_lacks_the_scope(
    method: Any, path: Any, scope: Any, caller: Callable[..., Caller]
) -> None:
    others = [other for other in ApiKey.Scope.values if other != scope]
    response = caller(scopes=others)(method, address(path))
    assert response.status_code == 403
    assert scope in response.json()["detail"]
    assert "create_api_key" in response.json()["hint"]


@each_operation
def test_with_a_key_that_has_only_this_scope(
    method: Any, path: Any, scope: Any, caller: Callable[..., Caller]
) -> None:
    response = caller(scopes=[scope])(method, address(path), {})
    # 415 where the body is no JSON: the key was taken.
    assert response.status_code in {200, 201, 202, 204, 404, 409, 415, 422}, response.content
