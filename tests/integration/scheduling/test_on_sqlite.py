"""The embedded default keeps the same promises: the same tests, on SQLite."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROMISES = ("test_changes.py", "test_claims.py", "test_dispatch.py", "test_jobs.py")


def test_the_promises_hold_on_sqlite(tmp_path: Path, settings: Any) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *(str(HERE / name) for name in PROMISES)],
        env=os.environ
        | {
            "TEST_DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
            "TEST_REDIS_URL": settings.BROKER_URL.rpartition("/")[0] + "/8",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert run.returncode == 0, run.stdout[-5000:]
    assert " passed" in run.stdout
