"""Our connections to a Redis broker: an error that it answers breaks them like its silence.

kombu takes an error reply (out of memory, read-only, no permission) for one of the channel, which
nobody in Celery waits out; an error of the connection is waited out everywhere. So is here a reply
that breaks off, and one that cannot be read.
"""

from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES, redis
from redis.exceptions import ResponseError

from notifications.worker import unacked
from scheduling import redis_replies

log = structlog.get_logger(__name__)

# What kombu raises of an element that it did not write: bytes, no JSON, JSON of another form.
NO_MESSAGE = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
CONNECTION_ERRORS = (*redis.Transport.connection_errors, ResponseError)


class _Closing:
    """A channel whose connections read whole replies, and which closes while the server is out.

    kombu takes leave of the server first; where that fails, it leaves the connections open.
    """

    QoS = unacked.QoS
    _closing: bool

    def queue_delete(self, *args: Any, **kwargs: Any) -> Any:
        """Delete a queue; one of a channel that closes expires by itself where that fails."""
        return self._or_leave(super().queue_delete, *args, **kwargs)  # type: ignore[misc]

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return self._or_leave(super()._brpop_read, **options)  # type: ignore[misc]
        except NO_MESSAGE as error:
            # BRPOP has taken it already. Its text is not logged: it is anybody's content.
            log.error("message_unreadable", error=_name(error))  # noqa: TRY400 -- a traceback has the text
            _count_dropped()
            return True

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 -- as the base class has it
        params: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[misc]
        whole = redis_replies.whole(params["connection_class"])
        # To tell of the library costs a new connection two round trips.
        return {**params, "connection_class": whole, "driver_info": None}

    def _or_leave(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except CONNECTION_ERRORS:
            if not self._closing:
                raise
            return None


class Channel(_Closing, redis.Channel):
    """A channel to one Redis."""


class SentinelChannel(_Closing, redis.SentinelChannel):
    """A channel to the Redis that sentinels name."""


class Transport(redis.Transport):
    """kombu's transport, whose connection is broken by an error that the server answers, too."""

    Channel = Channel
    connection_errors = CONNECTION_ERRORS


class SentinelTransport(redis.SentinelTransport):
    """The same, for a Redis that sentinels watch over."""

    Channel = SentinelChannel
    connection_errors = CONNECTION_ERRORS


def _name(error: Exception) -> str:
    return type(error).__name__


def _count_dropped() -> None:
    from notifications import metrics  # noqa: PLC0415 -- needs Django's apps

    metrics.dropped("no_message")


def register() -> None:
    """Have every connection to a broker use our transports; called before the first is made.

    Those to RabbitMQ are in ``worker.rabbitmq``.
    """
    ours, rabbitmq = f"{__name__}:Transport", "notifications.worker.rabbitmq"
    TRANSPORT_ALIASES.update(redis=ours, rediss=ours, sentinel=f"{__name__}:SentinelTransport")
    TRANSPORT_ALIASES.update(dict.fromkeys(("amqp", "pyamqp"), f"{rabbitmq}:Transport"))
    TRANSPORT_ALIASES.update(amqps=f"{rabbitmq}:SSLTransport")
