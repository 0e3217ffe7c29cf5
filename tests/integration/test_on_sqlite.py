"""The embedded default keeps the same promises: the same tests, on SQLite.

Its test database lives in memory, where threads cannot share it as processes share a file; what
several processes do to one SQLite file is tested by ``make up``'s acceptance test.
"""

import os
import subprocess
import sys
from pathlib import Path

from pytest_django import Settings

HERE = Path(__file__).parent
NOTIFICATIONS = (
    "submission/test_bulk.py",
    "delivery/test_leases.py",
    "maintenance/test_sweep.py",
    "submission/test_submission.py",
    "delivery/test_failed_deliveries.py",
    "maintenance/test_retention.py",
    "maintenance/test_archive.py",
    "maintenance/test_isolated_loops.py",
    "queueing/test_quarantine.py",
    "api/test_pagination.py",
    "audiences/test_filters.py",
    "recipients/test_project_rows.py",
)
SCHEDULING = ("test_changes.py", "test_claims.py", "test_dispatch.py", "test_jobs.py")


def test_the_promises_hold_on_sqlite(tmp_path: Path, settings: Settings) -> None:
    # One run: making the tables takes longer than most of its tests.
    files = [HERE / "notifications" / name for name in NOTIFICATIONS]
    files += [HERE / "scheduling" / name for name in SCHEDULING]
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            *map(str, files),
            "-k",
            "not never_twice and not many_at and not cannot_be_read and not 200_000"
            " and not planned_once",
        ],
        env=os.environ
        | {
            "TEST_DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
            "TEST_REDIS_URL": settings.BROKER_URL.rpartition("/")[0] + "/9",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout[-5000:]
    assert " passed" in run.stdout
