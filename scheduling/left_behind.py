"""What a task's own code leaves in its process or thread, and the next task shall not meet."""

import random
import sys

from django.db import connections
from django.utils import timezone, translation

_RECURSION_LIMIT = sys.getrecursionlimit()


def clear() -> None:
    """Close the database sessions, and undo what would change or break the next task.

    What is set for good at an import within a task, such as a higher recursion limit or a time
    limit for sockets, stays: nothing of ours depends on it.
    """
    connections.close_all()
    timezone.deactivate()
    translation.deactivate()
    random.seed()  # equal seeds in many processes would have them all try again at one time
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _RECURSION_LIMIT))
