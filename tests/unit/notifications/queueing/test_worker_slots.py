from collections.abc import Iterator
from threading import Event, Thread

import pytest
from celery.worker import state

from notifications.queueing import worker_slots


class Request:
    """A message that a worker has taken."""


@pytest.fixture
def waiting() -> Iterator[Thread]:
    ends = Event()
    thread = Thread(target=worker_slots.wait_while_idle, args=(ends.is_set,))
    thread.start()
    yield thread
    ends.set()
    worker_slots.took()
    thread.join(10)


def test_who_waits_while_a_worker_is_idle_goes_on_with_its_first_message(waiting: Thread) -> None:
    worker_slots.took()
    assert waiting.is_alive()
    message = Request()
    state.reserved_requests.add(message)
    try:
        worker_slots.took()
        waiting.join(10)
        assert not waiting.is_alive()
    finally:
        state.reserved_requests.discard(message)
