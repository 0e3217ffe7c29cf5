"""The check of the structure finds what nothing uses, and takes for used what is."""

import ast
import re
import tomllib
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from tests.outgoing import idle, unguarded, unknown
from tests.structure import (
    ROOT,
    Module,
    cycles,
    dead,
    misnamed,
    mortal_threads,
    other_writers,
    undocumented,
    without_reason,
)

DEFINED = """
LONELY = 1

def lonely(): ...

class Lonely: ...

class _Plain:
    def lonely_method(self): ...

print(_Plain)
"""


def module(code: str) -> Module:
    return Module(ROOT / "scheduling" / "example.py", ast.parse(code))


def test_what_nothing_uses_is_named_with_its_place() -> None:
    assert dead([module(DEFINED)]) == [
        "scheduling/example.py:2 LONELY",
        "scheduling/example.py:4 lonely",
        "scheduling/example.py:6 Lonely",
        "scheduling/example.py:9 lonely_method",
    ]


@pytest.mark.parametrize(
    "use",
    [
        "lonely()",
        "from scheduling.example import lonely",
        "print('scheduling.example.lonely')",
        "example.lonely",
    ],
)
def test_a_name_attribute_import_or_string_is_a_use(use: str) -> None:
    assert dead([module("def lonely(): ..."), module(use)]) == []


def test_a_docstring_and_a_list_of_exports_are_no_use() -> None:
    exported = "'''Not lonely.'''\n__all__ = ['lonely']"
    assert dead([module("def lonely(): ..."), module(exported)]) == [
        "scheduling/example.py:1 lonely"
    ]


def test_what_a_decorator_registers_is_used() -> None:
    assert dead([module("@registry.add\ndef lonely(): ...")]) == []
    assert dead([module("@cache\ndef lonely(): ...")]) == ["scheduling/example.py:2 lonely"]


def test_only_the_base_of_a_family_of_exceptions_ends_in_error() -> None:
    family = "class ParcelError(Exception): ...\nclass ParcelLost(ParcelError): ..."
    assert misnamed([module(family)]) == []
    assert misnamed([module("class LostError(ValueError): ...")]) == [
        "scheduling/example.py:1 LostError"
    ]
    assert misnamed([module("class LastError(NamedTuple): ...")]) == []


def test_a_public_method_says_what_it_does_unless_its_protocol_says_it() -> None:
    silent = "class Parcel:\n    def send(self): ..."
    assert undocumented([module(silent)]) == ["scheduling/example.py:2 Parcel.send"]
    protocol = 'class Sends(Protocol):\n    def send(self):\n        """Send it."""'
    assert undocumented([module(silent), module(protocol)]) == []
    assert undocumented([module("class Address(forms.Form):\n    def clean(self): ...")]) == []


@pytest.mark.parametrize(
    "change",
    [
        "rows.update(status=Status.SENT)",
        "rows.filter(pk=1).update(reason='', due_at=now)",
        "Notification.objects.bulk_update(rows, ['status'])",
        "cursor.execute('UPDATE notification SET due_at = NULL WHERE id = %s')",
        "change('status = %s, due_at = NULL, reason = %s', values)",
        "row |= {'status': 'expired'}",
        "row['due_at'] = now",
        "notification.status = 'sent'",
    ],
)
def test_a_status_or_due_time_that_is_set_elsewhere_is_named(change: str) -> None:
    def written(room: str) -> list[str]:
        path = ROOT / "notifications" / room / "example.py"
        return other_writers([Module(path, ast.parse(change))])

    assert written("delivery") == ["notifications/delivery/example.py:1"]
    assert written("transitions") == []


def test_a_status_that_is_asked_for_or_shown_is_not_set() -> None:
    asked = """
rows.filter(status=Status.SENT, due_at__lte=now)
cursor.execute("SELECT id FROM notification WHERE status = %s AND due_at = %s")
document(status=row.status)
PendingReceipt.objects.update(due_at=now)
row.status == "sent"
"""
    path = ROOT / "notifications" / "delivery" / "example.py"
    assert other_writers([Module(path, ast.parse(asked))]) == []


def test_a_thread_that_an_exception_would_end_is_named() -> None:
    made = "Thread(target=loop).start()\nthreads.lasting('sweep', loop).start()"
    assert mortal_threads([module(made)]) == ["scheduling/example.py:1"]


def test_an_exception_to_the_linter_needs_its_reason() -> None:
    assert without_reason([ROOT / "tests" / "structure.py"]) == []
    with NamedTemporaryFile("w", suffix=".py", dir=ROOT / "tests") as file:
        mark = "no" + "qa: F401"
        file.write(f"import os  # {mark}\nimport re  # {mark} -- used by its name\n")
        file.flush()
        assert without_reason([Path(file.name)]) == [f"tests/{Path(file.name).name}:1"]


@pytest.mark.parametrize(
    "call",
    [
        "import socket",
        "from urllib import request",
        "import urllib.request as own",
        "from http.client import HTTPConnection",
        "import requests",
        "import_module('smtplib')",
        "import httpx\nhttpx.get('http://example.org')",
        "from django.core.mail import send_mail",
        "from jwt import PyJWKClient",
    ],
)
def test_a_module_that_can_call_elsewhere_says_what_guards_it(call: str) -> None:
    [found] = unguarded([module(call)])
    assert found.startswith("scheduling/example.py: ")
    assert (
        unguarded([module("import httpx, jwt\nhttpx.URL('x')\nfrom http import HTTPStatus")]) == []
    )


def test_a_dependency_and_a_line_that_nothing_needs_are_named() -> None:
    assert unknown([module("import pip._vendor, json\nfrom django import http")]) == ["pip"]
    assert "notifications/channels/http_client.py" in idle([])


def test_no_package_has_a_cycle() -> None:
    assert cycles() == []


def test_the_map_of_the_rooms_is_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c["layers"] for c in contracts["contracts"] if c.get("exhaustive"))
    held = {
        (number, room.strip())
        for number, layer in enumerate(layers, 1)
        for room in layer.split("|")
        if room.strip() != "migrations"
    }
    page = (ROOT / "docs" / "architecture.md").read_text()
    shown = {
        (int(row), room)
        for row, rooms in re.findall(r"(?m)^\| (\d+) \| ([^|]+) \|", page)
        for room in re.findall(r"`(\w+)(?:\.py|/)`", rooms)
    }
    assert shown == held


def test_every_test_that_the_page_on_security_names_is_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    named = {name for name in re.findall(r"`([\w/]+\.py)`", page) if "test" in name}
    below = ("", "tests", "tests/integration", "tests/integration/notifications")
    assert {n for n in named if not any((ROOT / folder / n).is_file() for folder in below)} == set()
    assert len(named) > 30


def test_the_glossary_has_each_term_once() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text()
    cells = re.findall(r"(?m)^\| ([^|]+?) \|", page)
    terms = [term for cell in cells if cell not in {"term", "status"} for term in cell.split(", ")]
    assert len(terms) > 50
    assert len(terms) == len(set(terms))
