"""No exception brings its text into a log: it may hold a recipient, content or a code."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, Never

import psycopg
import pytest
from celery import Celery
from django.db import DataError, OperationalError

from notifications.core import logs

SECRET = "Dear Ada, your code is seagull"


@pytest.fixture
def logged() -> Iterator[Callable[..., list[Any]]]:
    """Log to memory as the processes do; return the lines."""
    handler = logging.StreamHandler(io.StringIO())
    line = logs.logging_config(logging.INFO, "json")["formatters"]["line"]
    handler.setFormatter(
        line["()"](foreign_pre_chain=line["foreign_pre_chain"], processors=line["processors"])
    )
    handler.addFilter(logs.logging_config(logging.INFO, "json")["filters"]["texts"]["()"]())
    logger = logging.getLogger()
    logger.addHandler(handler)
    yield lambda: [json.loads(line) for line in handler.stream.getvalue().splitlines()]
    logger.removeHandler(handler)


def raised(error: Any, cause: Any = None) -> None:
    try:
        raise error from cause
    except type(error):
        logging.getLogger("test").exception("It failed")


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        KeyError(SECRET),
        UnicodeEncodeError("ascii", SECRET, 0, 1, SECRET),
        DataError(f"DETAIL: Failing row contains ({SECRET})"),
    ],
)
def test_a_traceback_has_classes_and_places_but_no_text(
    logged: Callable[..., list[Any]], error: Any
) -> None:
    raised(error, cause=TypeError(SECRET))
    (line,) = logged()
    assert "seagull" not in json.dumps(line)
    assert line["exception"].splitlines()[-1] == type(error).__name__
    assert "TypeError" in line["exception"]
    assert f"{__file__}" in line["exception"]
    assert "in raised" in line["exception"]


def test_an_error_of_the_code_keeps_its_text(logged: Callable[..., list[Any]]) -> None:
    raised(ImportError("No module named 'pigeons'"))
    assert "No module named 'pigeons'" in logged()[0]["exception"]


def test_an_outage_is_described_in_words_of_ours(logged: Callable[..., list[Any]]) -> None:
    error = OperationalError(SECRET)
    error.__cause__ = psycopg.errors.DiskFull(SECRET)
    raised(error, cause=error.__cause__)
    (line,) = logged()
    assert "OperationalError: database, its disk is full (53100)" in line["exception"]
    assert "seagull" not in line["exception"]


def test_a_task_that_raises_is_named_without_its_text(logged: Callable[..., list[Any]]) -> None:
    app = Celery("test", broker="memory://", backend="cache+memory://", set_as_current=False)

    @app.task(name="pigeon")  # type: ignore[untyped-decorator]  # celery has no types
    def pigeon() -> Never:
        raise ValueError(SECRET)

    pigeon.apply()
    (line,) = [line_ for line_ in logged() if "Task pigeon" in line_["event"]]
    assert "ValueError" in line["event"]
    assert "seagull" not in json.dumps(line)
