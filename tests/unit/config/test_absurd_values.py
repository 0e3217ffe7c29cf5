"""Whatever the environment says: a complaint that names the variable, and never a stack."""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from config import flower_guard
from config.processes import FLOWER
from tests.unit.config.test_checks import READ_IN, ROOT, Ended, _run

ABSURD = {
    "a word": "abc",
    "negative": "-1",
    "large": "9" * 12,
    "without end": "inf",
    "not a number": "nan",
    "quoted": '"5"',
    "a bracket": "http://[",
    "long": "1" * 5000,
    "not a letter": "\x01",
    "not text": "\udc80",
}
# What is there before anything can be said about it: the folder for data, and where logs go.
FIRST = {"VAR_DIR"}


def _read() -> Iterator[tuple[str, str]]:
    """Find the name of each variable that is read, and by what."""
    for module in READ_IN:
        for node in ast.walk(ast.parse((ROOT / module).read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("env."):
                name = node.args[0]
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    yield name.value, ast.unparse(node.func)


VARIABLES = {name for name, _ in _read()} - FIRST
NUMBERS = {name for name, reader in _read() if reader in ("env.int", "env.float")}
# These change what is loaded: each by itself, for a wrong one hides what comes after it.
ALONE = {"SCHEDULING_BACKEND", "DATABASE_URL", "BROKER_URL", "ADMIN_OIDC_ISSUER", "HTTPS", "DEBUG"}


def _check(**env: str) -> Ended:
    return _run("python", "manage.py", "check", **env)


def _is_clear(ended: Ended) -> bool:
    return ended.returncode == 1 and "Traceback" not in ended.stderr + ended.stdout


def test_the_variables_are_found() -> None:
    assert len(VARIABLES) > 100
    assert {"PORT", "SMTP_SERVER_PORT", "DATABASE_URL", "PUBLIC_URL"} <= VARIABLES | {"PORT"}
    assert VARIABLES >= ALONE


@pytest.mark.slow
@pytest.mark.parametrize("value", ABSURD.values(), ids=ABSURD.keys())
def test_no_absurd_value_shows_a_stack(value: str) -> None:
    checked = _check(**dict.fromkeys(VARIABLES, value))
    assert _is_clear(checked), checked.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ALONE))
@pytest.mark.parametrize("kind", ["a word", "a bracket"])
def test_one_wrong_value_by_itself_is_named(name: str, kind: str) -> None:
    checked = _check(**{name: ABSURD[kind]})
    assert _is_clear(checked), checked.stderr
    assert name in checked.stderr


@pytest.mark.slow
def test_no_number_is_taken_that_nothing_can_count_or_wait_for() -> None:
    checked = _check(**dict.fromkeys(NUMBERS, ABSURD["large"]), HTTPS="1")
    assert [name for name in NUMBERS if f"(config.E001) {name}: " not in checked.stderr] == []


@pytest.mark.slow
@pytest.mark.parametrize("blank", [" ", "\n", "\t \r\n"])
def test_white_space_is_no_value(blank: str) -> None:
    checked = _check(**dict.fromkeys(VARIABLES, blank))
    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", [ABSURD["long"], "/etc", "/etc/passwd/key", "/nowhere"], ids=lambda text: text[:9]
)
def test_a_file_that_cannot_be_read_is_named_by_its_variable(value: str) -> None:
    name = "METRICS_TOKEN_FILE"
    checked = _check(**{name: value})
    assert _is_clear(checked), checked.stderr
    assert name in checked.stderr
    assert len(checked.stderr.strip().splitlines()) == 1


def _flower_option(kind: Any, **given: Any) -> SimpleNamespace:
    option = SimpleNamespace(name="an-option", type=kind, multiple=False, **given)
    return SimpleNamespace(_options={"an-option": option})


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (int, "abc", "FLOWER_AN_OPTION is 'abc'. It must be a whole number."),
        (int, "5555\n", ""),
        (float, "1,5", "FLOWER_AN_OPTION is '1,5'. It must be a number."),
        (bool, "-1", "FLOWER_AN_OPTION is '-1'. It must be 1 or 0."),
        (bool, "true", ""),
        (str, "abc", ""),
        (dict, "abc", "FLOWER_AN_OPTION cannot be set by a variable. Set it in the file that "),
    ],
)
def test_what_flower_cannot_read_is_named(kind: type, text: str, said: str) -> None:
    environ = {"FLOWER_AN_OPTION": text, "FLOWER_URL": "http://localhost:5555"}
    problem = flower_guard.variable_problem(_flower_option(kind), environ)
    assert problem.startswith(said)
    assert bool(problem) is bool(said)


def test_an_empty_number_of_flowers_is_not_set() -> None:
    environ = {"FLOWER_AN_OPTION": " "}
    assert flower_guard.variable_problem(_flower_option(int), environ) == ""
    assert environ == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["FLOWER_PORT", "FLOWER_DEBUG", "FLOWER_FORMAT_TASK"])
def test_flower_says_which_variable_is_wrong(name: str) -> None:
    ended = _run(*FLOWER, **{name: "abc"})
    assert _is_clear(ended), ended.stderr
    assert ended.stderr.startswith(name)
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRANIAN_PORT", "abc"),
        ("GRANIAN_PORT", '"8000"'),
        ("GRANIAN_PORT", "-1"),
        ("GRANIAN_HOST", "abc"),
        ("GRANIAN_BLOCKING_THREADS", "0"),
        ("GRANIAN_LOG_LEVEL", "loud"),
    ],
)
def test_the_web_server_says_which_variable_is_wrong(name: str, value: str) -> None:
    ended = _run("python", "-m", "config.command", "web", **{name: value})
    assert _is_clear(ended), ended.stderr
    assert name in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PORT", "FLOWER_PORT", "SMTP_PORT"])
@pytest.mark.parametrize("value", ["abc", "-1", "99999", '"8000"'])
def test_make_up_says_which_variable_is_wrong(name: str, value: str, tmp_path: Path) -> None:
    free = dict.fromkeys(("PORT", "FLOWER_PORT", "SMTP_PORT"), "0")
    given = {"DATABASE_URL": "", "BROKER_URL": "", "VAR_DIR": str(tmp_path)} | free | {name: value}
    ended = _run("python", "-m", "config.up", **given)
    assert _is_clear(ended), ended.stderr
    assert name in ended.stderr.splitlines()[-1]
