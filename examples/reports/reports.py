"""A Celery app with jobs that fire once per due time: no Django, no database, a Redis alone."""

import os
from datetime import UTC, datetime
from pathlib import Path

from celery import Celery

from scheduling import jobs

# The task class runs each fire once, although a broker may bring its message twice.
app = Celery("reports", broker=os.environ["REDIS_URL"], task_cls="scheduling.execution:Task")
REPORT = Path(os.environ.get("REPORT", "report.txt"))


@jobs.job(every=1, timeout=30, retries=3, overlap="skip")
def refresh() -> None:
    """Add a line to the report."""
    with REPORT.open("a") as report:
        report.write(f"refreshed at {datetime.now(UTC):%H:%M:%S}\n")


@jobs.job(cron="0 3 * * mon-fri", timezone="Europe/Berlin", timeout=600, misfire="latest")
def nightly() -> None:
    """Close the day."""
    with REPORT.open("a") as report:
        report.write("closed\n")
