"""Replies of a Redis that break off or cannot be read: errors of the connection, like silence."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from redis.exceptions import ConnectionError as BrokenConnection
from redis.exceptions import InvalidResponse


class _WholeReplies:
    """A connection to a Redis whose every read ends, by a reply or by an error of the connection.

    redis-py reads what was published without a limit of time, whatever ``socket_timeout`` says,
    and fails with an error of Python's own where a number in a reply is none.
    """

    socket_timeout: float | None
    disconnect: Callable[[], None]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read one reply. Raises redis-py's errors: of time, of the connection, of the server."""
        if "timeout" in kwargs and kwargs["timeout"] is None:
            kwargs["timeout"] = self.socket_timeout
        try:
            return super().read_response(*args, **kwargs)  # type: ignore[misc]
        except (InvalidResponse, ValueError, TypeError, OverflowError, RecursionError) as error:
            self.disconnect()
            raise BrokenConnection("Redis sent what is not a reply") from error


@lru_cache(maxsize=16)
def whole(kind: type[Any]) -> type[Any]:
    """Return a class of redis-py's connections that reads whole replies."""
    return type(kind.__name__, (_WholeReplies, kind), {})
