"""Injection: a function of ours raises whenever a row is among what it is called with."""

from asyncio import CancelledError
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from notifications.core.errors import NotificationError
from notifications.models import QuarantinedRow

ERRORS = [
    ValueError("ada@example.org"),
    UnicodeEncodeError("ascii", "Dear Ada", 0, 1, "not in range"),
    TypeError("Dear Ada"),
    RecursionError("Dear Ada"),
    MemoryError("Dear Ada"),
    NotificationError("Dear Ada"),
]

EXITS = [SystemExit("Dear Ada"), KeyboardInterrupt(), GeneratorExit(), CancelledError()]
"""What ends a process, a generator or a coroutine, raised by somebody's code."""


def plant(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, faults: Mapping[Any, Exception]
) -> None:
    """Have ``owner.name`` raise a row's error where its primary key is among the arguments."""
    real: Callable[..., Any] = getattr(owner, name)

    def raising(*args: Any, **kwargs: Any) -> Any:
        for key in _keys((args, kwargs)):
            if key in faults:
                raise faults[key]
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, raising)


def _keys(value: Any) -> Iterator[object]:
    """Find the keys of rows, claims, messages and reports; a key may stand by itself."""
    if hasattr(value, "id"):
        yield value.id
    elif isinstance(value, Mapping):
        yield from _keys(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _keys(item)
    else:
        try:
            hash(value)
        except TypeError:
            return
        yield value


def rested() -> None:
    """Let the time go by that a row rests after a fault."""
    QuarantinedRow.objects.update(retry_at=F("retry_at") - timedelta(hours=1))
