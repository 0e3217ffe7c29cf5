"""What a worker's child gets by the fork."""

import gc
import weakref

from notifications import celery


class Node:
    """A part of a cycle, which only the garbage collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_what_a_worker_has_dropped_since_its_start_is_not_kept_for_a_later_child() -> None:
    celery._share_memory()
    node = Node()
    gone = weakref.ref(node)
    del node
    celery._share_memory()
    assert gone() is None
    assert gc.get_freeze_count()
