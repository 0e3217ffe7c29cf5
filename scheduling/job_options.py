"""The options of a job as ``jobs.register`` and ``@jobs.job`` take them, typed. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

Duration = float | timedelta
"""Seconds, or a ``timedelta``; a whole number of seconds either way."""
Moment = str | datetime
"""A time with its offset."""


class JobOptions(TypedDict, total=False):
    """What a job may have beside its name, its task and its schedule."""

    args: Sequence[Any]
    """What the task is called with: JSON."""
    kwargs: Mapping[str, Any]
    """What the task is called with by name: JSON."""
    enabled: bool
    """Whether it runs; one that somebody paused stays paused unless this says otherwise."""
    description: str
    """What people read in the admin."""
    start: Moment | None
    """No fire before this moment."""
    expires: Moment | None
    """No fire after this moment."""
    one_off: bool
    """Fire once, and pause."""
    queue: str | None
    """The queue of Celery's that its messages go to."""
    priority: int | None
    """The priority of its messages, from 0 to 255, as the broker has it."""
    message_expires: Duration | None
    """A message that no worker took by then is not run."""
    misfire: Literal["latest", "skip", "all"]
    """What becomes of due times that passed while no scheduler ran."""
    misfire_cap: int
    """With ``all``: how many of the newest missed due times are run."""
    grace: Duration | None
    """A due time later than this is missed for good."""
    overlap: Literal["allow", "skip", "queue"]
    """What becomes of a fire that is due while the one before it still runs."""
    jitter: Duration
    """Each job has a constant delay within this time."""
    guarantee: Literal["at_least_once", "at_most_once"]
    """Whether a run whose end nobody knows is made again."""
    timeout: Duration | None
    """How long a run may take."""
    retries: int
    """How often a failed run is tried again."""
    retry_backoff: Duration
    """The wait before the first retry; it doubles with each."""
    retry: Mapping[str, Any] | None
    """How a failed run is tried again, if not by a doubling wait: see ``retries``."""
    groups: Sequence[str] | None
    """Names by which jobs are paused, resumed and listed together."""
    concurrency: int
    """With overlap ``skip`` or ``queue``: how many runs may go on at once."""
    concurrency_key: str
    """Jobs that have the same share their runs at once."""
    unique_key: str
    """Of the jobs that have the same, one run is let through in a period."""
    unique_seconds: Duration | None
    """The period of the unique key."""
    pause_after: int | None
    """Pause it when so many of its runs have failed in a row."""
    catch_up_on_resume: bool
    """On resume, treat what was due during the pause as missed."""
    condition: str
    """The name of a condition that is asked when it is due."""
