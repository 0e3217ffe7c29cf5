"""Whether and when a failed run is tried again: strategies by name, and by the error's class. Pure.

A job's ``retries`` says how often, its ``retry`` how::

    {"strategy": "linear", "wait": 30, "longest": 600}
    {"strategy": "waits", "waits": [1, 10, 60]}
    {"strategy": "jitter", "errors": {"ValueError": {"strategy": "never"}}}

Without it the wait doubles from ``retry_backoff`` on, up to an hour.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from scheduling import isolation

LONGEST = 3600.0
"""Seconds that a wait lasts at most, unless ``longest`` says otherwise."""
KNOWN = ("exponential", "fixed", "jitter", "linear", "never", "waits")

Strategy = Callable[[int, BaseException, float], timedelta | float | None]
"""Of the failed run's number from 1, its error, and the seconds since the fire was first published:
the wait, as seconds or a ``timedelta``; ``None`` gives up. Pure: it may be asked again."""

_own: dict[str, Strategy] = {}


class UnknownStrategy(LookupError):
    """A job names a strategy that no code has registered."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no retry strategy {name!r}. Use one of: {', '.join(names())}.")


def strategy(name: str) -> Callable[[Strategy], Strategy]:
    """Register a strategy of one's own under a name; a decorator.

    Raises ``ValueError`` for the name of a strategy that is there already from the start.
    """
    if name in KNOWN:
        raise ValueError(f"{name!r} is a strategy of this package.")

    def keep(function: Strategy) -> Strategy:
        _own[name] = function
        return function

    return keep


def names() -> list[str]:
    """Return the names of all strategies."""
    return sorted({*KNOWN, *_own})


def wait_after(
    attempt: int,
    error: BaseException,
    *,
    retries: int,
    backoff: float,
    policy: Mapping[str, Any] | None = None,
    elapsed: float = 0.0,
    share: float = 0.0,
) -> timedelta | None:
    """Return the wait after failed run number ``attempt``, from 1; ``None``: no more runs.

    ``backoff`` and ``elapsed`` are seconds; ``share``, in [0, 1), is the chance of the ``jitter``
    strategy. Raises ``UnknownStrategy``, and what a strategy of one's own raises.
    """
    if attempt > retries:
        return None
    chosen = {**(policy or {}), **_for_error((policy or {}).get("errors", {}), error)}
    seconds = _seconds(chosen, attempt, error, backoff, elapsed, share)
    if seconds is None:
        return None
    return timedelta(seconds=min(max(seconds, 0.0), chosen.get("longest", LONGEST)))


def longest_wait(policy: Mapping[str, Any] | None, backoff: float, attempt: int) -> timedelta:
    """Return a wait after run number ``attempt`` that none is longer than, whatever the error."""
    if policy is None:
        return timedelta(seconds=min(_doubled(backoff, attempt), LONGEST))
    parts = [policy, *policy.get("errors", {}).values()]
    return timedelta(seconds=max(part.get("longest", LONGEST) for part in parts))


def _for_error(by_class: Mapping[str, Any], error: BaseException) -> Mapping[str, Any]:
    """Return what is said of an error's class, or of the nearest class that it derives from."""
    for kind in type(error).__mro__:
        for name in (f"{kind.__module__}.{kind.__qualname__}", kind.__name__):
            if name in by_class:
                strategy: Mapping[str, Any] = by_class[name]
                return strategy
    return {}


def _seconds(  # noqa: PLR0917 -- what the strategies decide by
    chosen: Mapping[str, Any],
    attempt: int,
    error: BaseException,
    backoff: float,
    elapsed: float,
    share: float,
) -> float | None:
    wait = chosen.get("wait", backoff)
    name: str = chosen.get("strategy", "exponential")
    if name in _own:
        with isolation.contained():
            wait = _own[name](attempt, error, elapsed)
        return wait.total_seconds() if isinstance(wait, timedelta) else wait
    match name:
        case "never":
            return None
        case "fixed":
            return float(wait)
        case "linear":
            return float(wait * attempt)
        case "exponential":
            return _doubled(wait, attempt)
        case "jitter":
            # Half of the wait for sure, the other half by chance.
            longest: float = chosen.get("longest", LONGEST)
            return min(_doubled(wait, attempt), longest) * (1 + share) / 2
        case "waits":
            waits = chosen["waits"]
            return float(waits[min(attempt, len(waits)) - 1])
    raise UnknownStrategy(name)


def _doubled(wait: float, attempt: int) -> float:
    doublings: int = 2 ** min(attempt - 1, 20)
    return float(wait * doublings)
