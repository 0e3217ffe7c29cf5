"""Our connections to RabbitMQ: one that it blocks is broken, with the reason that it gives.

RabbitMQ that is low on memory or disk accepts connections, answers questions and delivers what it
has. Of a connection that publishes it reads nothing more: whoever waits for a confirm would wait
until the alarm is over, and so would a connection that is closed in an orderly way.
"""

from typing import Any

from kombu.transport import pyamqp

from scheduling.outages import PublishersBlocked

BLOCKED = (10, 60)
"""The number of the method ``connection.blocked`` (RabbitMQ's extension of AMQP)."""


class Connection(pyamqp.Connection):
    """A connection that ends when RabbitMQ blocks it."""

    # py-amqp does not read the reason, a short string.
    _METHODS = {
        **pyamqp.Connection._METHODS,  # noqa: SLF001 -- as above
        BLOCKED: pyamqp.Connection._METHODS[BLOCKED]._replace(args="s"),  # noqa: SLF001 -- as above
    }

    def _on_blocked(self, reason: str) -> None:
        self.collect()
        raise PublishersBlocked(reason)


class Transport(pyamqp.Transport):
    """kombu's transport, with our connections."""

    Connection: Any = Connection


class SSLTransport(pyamqp.SSLTransport):
    """The same over TLS."""

    Connection: Any = Connection
