"""How an exception is logged: by its class and the places in the code, never by its text.

A text may hold a recipient, a subject, a body or a code: ``UnicodeEncodeError`` carries the whole
string, a database's error the values of the row. What is kept is the text of errors that can only
speak of the code or of a server.
"""

import logging
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from typing import Any

from django.core.exceptions import AppRegistryNotReady, ImproperlyConfigured

from notifications.core.errors import DeliveryFailed
from scheduling import outages

# Errors about the code itself, and one of ours whose text is a reason and a code.
PLAIN = (
    *(ImportError, NameError, AttributeError, NotImplementedError, SyntaxError),
    *(ImproperlyConfigured, AppRegistryNotReady, DeliveryFailed),
)


def format_exception(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put a traceback without texts into a log event; a processor of structlog."""
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    error = given if isinstance(given, BaseException) else given[1] if given else None
    if error is not None:
        event["exception"] = "\n".join(_lines(error))
    return event


def without_text(record: logging.LogRecord) -> bool:
    """Take the text of a task's exception, and its traceback, out of Celery's line; a filter."""
    if isinstance(record.args, dict) and "exc" in record.args:
        error = record.exc_info[1] if record.exc_info else None
        said = describe(error) if error is not None else str(record.args["exc"]).partition("(")[0]
        record.args = {**record.args, "exc": said, "traceback": ""}
    return True


def describe(error: BaseException) -> str:
    """Name an exception, with its text where that can hold nothing of a message."""
    name = type(error).__name__
    if isinstance(error, PLAIN):
        return f"{name}: {error}"
    outage = outages.of(error)
    return f"{name}: {outage.server}, {outage.reason} ({outage.code})" if outage else name


def _lines(error: BaseException) -> Iterator[str]:
    for raised in reversed(list(_chain(error))):
        yield "Traceback (most recent call last):"
        for frame in traceback.extract_tb(raised.__traceback__):
            yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
        yield describe(raised)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, its cause, and that one's."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        implied = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or implied
