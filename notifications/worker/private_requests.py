"""Messages in a worker's hands that show nothing of what a task was given or gave.

Events, remote control (``inspect active``) and Flower would else show arguments, results and the
texts of exceptions, which may hold recipients and contents.
"""

import re
from functools import cache
from typing import Any

from celery.utils.imports import symbol_by_name
from celery.worker.request import Request

_CLASS = re.compile(r"[A-Za-z_][\w.]{0,99}")
_CONTENT = ("args", "kwargs", "result", "traceback")


class _Private(Request):  # type: ignore[misc]  # celery has no types
    """A task's message: its id, name, times and state are shown, and an exception's class."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._argsrepr = self._kwargsrepr = ""  # whatever the message's headers say

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 -- celery's signature
        """Describe it to remote control, without its arguments."""
        described: dict[str, Any] = super().info(safe=True)
        return described

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 -- as above
        """Send an event of it, without content."""
        shown = {name: "" if name in _CONTENT else value for name, value in fields.items()}
        if "exception" in shown:
            shown["exception"] = _class_of(str(shown["exception"]))
        super().send_event(type, **shown)


@cache
def private(kind: str | type[Request]) -> type[Request]:
    """Return a task's class of requests, made private; by name or itself."""
    given = symbol_by_name(kind)
    if issubclass(given, _Private):
        return given  # type: ignore[no-any-return]  # as above
    bases = (_Private,) if given is Request else (_Private, given)
    return type(f"Private{given.__name__}", bases, {})


def _class_of(described: str) -> str:
    """Return the class that an exception's ``repr`` begins with."""
    found = _CLASS.match(described)
    return found[0] if found else ""
