from collections.abc import Iterator
from threading import Event, Thread
from typing import ClassVar

import pytest
from celery.worker import state

from notifications.core.routing import SEND_TASK
from notifications.queueing import making_way, publisher, worker_slots


class Request:
    """A message that a worker has taken, and not begun."""

    def __init__(self, name: str = SEND_TASK) -> None:
        self.name = name

    delivery_info: ClassVar = {"routing_key": "sms.high"}
    time_start = None


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


@pytest.mark.parametrize(
    ("task", "gives_way"), [(SEND_TASK, True), (publisher.DELIVER_DUE_TASK, False)]
)
def test_the_processor_goes_to_a_single_urgent_message_and_by_weight_to_a_backlog(
    task: str, gives_way: bool
) -> None:
    message = Request(task)
    state.reserved_requests.add(message)
    try:
        worker_slots.took()
        assert making_way.has_more_urgent(making_way.rank_of("email.low")) is gives_way
    finally:
        state.reserved_requests.discard(message)
    worker_slots.took()
    assert not making_way.has_more_urgent(making_way.rank_of("email.low"))
