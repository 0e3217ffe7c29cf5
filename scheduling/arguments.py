"""Checks of a task's arguments, made when a schedule or a job of it is made.

A package registers the check of its own task; this one knows no task::

    @arguments.validates("shop.import_orders")
    def check_import(args, kwargs): ...  # raises InvalidArguments
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scheduling.job_schema import InvalidJob

Check = Callable[[Sequence[Any], Mapping[str, Any]], None]

_checks: dict[str, Check] = {}


class InvalidArguments(InvalidJob):
    """A task's arguments that it would refuse; ``field`` is their path, like ``kwargs.channel``."""


def validates(task_name: str) -> Callable[[Check], Check]:
    """Register the check of a task's ``args`` and ``kwargs``; a second one replaces the first."""

    def register(check: Check) -> Check:
        _checks[task_name] = check
        return check

    return register


def check(task_name: str, args: Any, kwargs: Any) -> None:
    """Check what a schedule will call a task with. Raises ``InvalidArguments``."""
    registered = _checks.get(task_name)
    if registered is None:
        return
    if not isinstance(args, list | tuple):
        raise InvalidArguments("args must be a list.", field="args")
    if not isinstance(kwargs, Mapping):
        raise InvalidArguments("kwargs must be an object.", field="kwargs")
    registered(args, kwargs)
