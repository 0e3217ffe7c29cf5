"""How a worker meets a broker that is out: it waits until the broker works, and starts anew.

Celery's own consumer reconnects after an error of the connection, and ends the whole worker after
an error that a Redis *answers*: out of memory, read-only, no permission. To our transports
(``worker.transports``) both are errors of the connection, and this consumer waits them out quietly:
the outage is said once when it begins and once when it ends. What a single message breaks is in
``worker.message_faults``.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker import consumer, state
from kombu.exceptions import OperationalError

from notifications.queueing import publisher, worker_slots
from notifications.worker import message_faults, private_requests
from scheduling import outages

# Celery warns with each lost connection that Celery 6 would cancel what runs. Ours go on: a send
# has its claim, and a job its run in the ledger.
warnings.filterwarnings("ignore", "\nIn Celery 5.1", CPendingDeprecationWarning)

STEP = 0.2  # seconds between two looks at whether the worker shall end


class Consumer(consumer.Consumer):  # type: ignore[misc]  # celery has no types
    """A consumer to which an error that the broker answers is an outage like silence."""

    connection_errors: tuple[type[Exception], ...]

    def __init__(self, on_task_request: Callable[[Any], object], **options: Any) -> None:
        def take(request: Any) -> None:
            worker_slots.took()
            on_task_request(request)

        super().__init__(take, **options)
        # What a step of the consumer publishes, such as its greeting to other workers, raises this.
        self.connection_errors = (*self.connection_errors, OperationalError)

    def update_strategies(self) -> None:
        """Have no task's messages show what the task was given, whatever its class."""
        for task in self.app.tasks.values():
            task.Request = private_requests.private(task.Request)
        super().update_strategies()

    def create_task_handler(self, **options: Any) -> Callable[[Any], Any]:
        """Return the handler of a message; whatever it raises costs that message."""
        receive = super().create_task_handler(**options)
        return message_faults.receiving(receive, self.connection_errors, self)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Drop what is not a task's message. Celery would log it whole; the same below."""
        message_faults.drop(message, message_faults.UnknownMessage(), "unknown_format", self)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Drop a message of a task that this worker does not know."""
        message_faults.drop_unknown(message, exc, self)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Drop a message whose parts are not of the kinds that Celery needs."""
        message_faults.drop(message, exc, "invalid", self)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drop a message whose body cannot be decoded, or is of a type that is not accepted."""
        message_faults.drop(message, exc, "not_decoded", self)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Rest; the next try follows. Celery would log each one."""
        _rest(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Leave the broken connection behind, and rest."""
        super().on_connection_error_after_connected(exc)
        _rest(exc)

    def ensure_connected(self, conn: Any) -> Any:
        """Wait until the broker takes messages, and return a connection to it."""
        while True:
            try:
                publisher.probe()
                conn.ensure_connection(max_retries=1, timeout=1.0)
            except Exception as error:
                if not outages.is_outage(error) and not isinstance(error, self.connection_errors):
                    raise
                _rest(error)
                conn.maybe_switch_next()
            else:
                self.first_connection_attempt = False
                return conn


def _rest(error: Exception) -> None:
    """Tell the watch, and wait as long as it says, or until the worker shall end."""
    until = time.monotonic() + publisher.saw(error)
    while time.monotonic() < until:
        state.maybe_shutdown()
        time.sleep(STEP)
    state.maybe_shutdown()
