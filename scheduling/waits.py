"""How long each part of a fire's life may take before a scheduler looks at it. Pure."""

from datetime import datetime, timedelta

PUBLISH_LEASE = timedelta(seconds=1)
"""A claimed fire that is not published by then is another scheduler's to publish."""
WAITING_LOOK = timedelta(seconds=5)
"""How often a waiting fire looks whether the run before it has ended, should nobody tell it."""
UNSTARTED_WAIT = timedelta(minutes=10)
"""A published fire that no worker has started by then is published again, by its guarantee."""
UNSTARTED_DOUBLINGS = 4
HEARTBEAT_INTERVAL = timedelta(seconds=5)
HEARTBEAT_LIMIT = timedelta(seconds=10)
"""A run whose worker has not been heard for that long is suspected to be an orphan."""
SECOND_LOOK = timedelta(seconds=10)
"""A suspected run that is not heard for so long is one. After a jump of the clock, or an outage of
the database, all runs seem silent at once; then their heartbeats come."""
BROKER_BACKOFF = timedelta(seconds=1)
"""A fire that the broker or the task's own database refused is tried again after this long."""
OUTAGE = timedelta(seconds=5)
"""A fire that could not be published for longer than this is late by its misfire policy."""
KEY_KEPT = timedelta(days=1)
"""A backend without a database keeps the name of a concurrency key for so long after its use."""

UNKNOWN_TRIES = 4
"""How often a fire is published whose task the workers that take it do not know."""
UNKNOWN_BACKOFF = timedelta(seconds=5)
"""Wait before such a fire is published again; doubles with each."""
LONGEST_UNKNOWN_BACKOFF: timedelta = UNKNOWN_BACKOFF * 2**UNKNOWN_TRIES


def is_suspected(due_at: datetime | None, heartbeat_at: datetime | None) -> bool:
    """Tell whether a running fire that is due has been looked at since its last heartbeat."""
    return heartbeat_at is None or due_at != heartbeat_at + HEARTBEAT_LIMIT


def unstarted_wait(publishes: int, attempt: int) -> timedelta:
    """Return how long a published fire waits for a worker before it is published again.

    ``publishes`` is how often it was published before, ``attempt`` how many runs it has had. Nobody
    can tell a lost message from one that waits in a long queue, so each message that brought no run
    doubles the wait, up to 16 times the first: messages do not multiply in a backlog.
    """
    without_run = min(max(publishes - attempt, 0), UNSTARTED_DOUBLINGS)
    return UNSTARTED_WAIT * (1 << without_run)
