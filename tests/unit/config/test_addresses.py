"""The addresses of the ready-made project, and what the API says of its own."""

import re

from django.core import checks
from django.urls import Resolver404, resolve

from notifications.api.application import api

SCHEMA = api.get_openapi_schema()
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, methods in SCHEMA["paths"].items()
    for method, operation in methods.items()
]


def test_djangos_checks_find_nothing_in_the_project() -> None:
    assert checks.run_checks() == []


def test_each_operation_is_named_once_and_described() -> None:
    names = [operation["operationId"] for _, operation in OPERATIONS]
    assert len(names) == len(set(names)) > 40
    assert [name for name, operation in OPERATIONS if not operation.get("summary")] == []


def test_each_refusal_of_an_operation_is_a_problem_document() -> None:
    other = [
        (name, status)
        for name, operation in OPERATIONS
        for status, answer in operation["responses"].items()
        if int(status) >= 400 and list(answer["content"]) != ["application/problem+json"]
    ]
    assert other == []


def test_the_document_names_addresses_that_lead_somewhere() -> None:
    identity = "00000000-0000-7000-8000-000000000000"
    lost = []
    for path in SCHEMA["paths"]:
        filled = re.sub(r"\{\w+\}", "{}", path)
        for value in (identity, "1", "name"):
            try:
                resolve(filled.replace("{}", value))
                break
            except Resolver404:
                continue
        else:
            lost.append(path)
    assert lost == []
