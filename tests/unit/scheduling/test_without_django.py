"""What a Celery app without Django imports of this package needs no settings of Django's."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from celery import Celery
from scheduling import jobs, policies, recurrence, testing

app = Celery("plain")

@jobs.job(every=60)
def note():
    runs.append(1)

runs = []
with testing.clock("2026-01-01T00:00Z", app) as clock:
    jobs.register_declared()
    jobs.register("cron", note, "*/5 * * * *", overlap="skip")
    clock.advance(minutes=10)
print(len(runs))
unwanted = [name for name in sys.modules if name.startswith(("django_celery_beat", "psycopg"))]
print(unwanted)
from django.conf import settings
print(settings.configured)
"""


@pytest.mark.slow
def test_jobs_policies_and_rules_work_without_settings_of_django() -> None:
    env = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split("\n") == ["12", "[]", "False", ""]
