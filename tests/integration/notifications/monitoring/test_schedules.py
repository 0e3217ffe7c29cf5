"""What goes wrong with schedules is seen wherever people look, on real processes."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import connection
from django.test import Client
from django.urls import reverse

from scheduling import jobs
from scheduling.clock import database_now
from scheduling.models import Schedule
from tests.integration.notifications.monitoring.test_state import value
from tests.integration.scheduling.jobs_app import RUNS
from tests.servers.processes import ROOT, Processes

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor == 'sqlite'", reason="the worker has a server to itself"),
]

APP = "tests.integration.scheduling.jobs_app"
LIST = reverse("admin:django_celery_beat_periodictask_changelist")
# The trouble's schedule: its metric, the id of doctor's finding, the filter of admin's list, and a
# part of what status and the admin's first page say.
TROUBLES = {
    "fails": ("schedules_failing", "failing", "failing", "whose last runs failed"),
    "is skipped": ("schedules_skipping", "skipping", "skipping", "last due times were skipped"),
    "is unknown": ("tasks_unknown", "unknown_task", "unknown", "that no worker knows"),
    "is broken": ("schedules_quarantined", "quarantined", "quarantined", "in quarantine"),
    "stands still": ("schedules_overdue", "overdue", "overdue", "no scheduler moves on"),
}
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON scheduling_schedule FOR EACH ROW
WHEN (NEW.periodic_task_id = {}) EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def troubled(processes: Processes, tmp_path: Path) -> Iterator[Processes]:
    """Start a worker and a scheduler over a schedule of each trouble."""
    jobs.allow("jobs.note", "jobs.fail", "jobs.sleep", "old.module.gone")
    jobs.register("fails", "jobs.fail", 1)
    jobs.register("is skipped", "jobs.sleep", 1, args=[60], overlap="skip")
    jobs.register("is unknown", "old.module.gone", 1)
    jobs.register("is broken", "jobs.note", 1)
    jobs.register("stands still", "jobs.note", 1)
    still = Schedule.objects.filter(periodic_task__name="stands still")
    still.update(next_fire_at=database_now() - timedelta(seconds=40))
    (tmp_path / "runs").touch()
    processes.env[RUNS] = str(tmp_path / "runs")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE django_celery_beat_periodictask SET headers = 'null' WHERE name = 'is broken'"
        )
        cursor.execute(REFUSE.format(still.get().pk))
    processes.start("worker", "celery", "-A", APP, "worker", "-c", "2", "-Q", "jobs")
    processes.start("beat", "celery", "-A", APP, "beat", "-l", "info")
    yield processes
    processes.end_all()
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION refuse CASCADE")


def test_each_trouble_of_a_schedule_is_in_metrics_alerts_status_doctor_and_admin(
    troubled: Processes, admin_client: Client, wait_until: Callable[..., Any]
) -> None:
    wait_until(lambda: all(value(metric) for metric, *_ in TROUBLES.values()))
    assert value("runs_failed") > 0
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"][0]
    status = troubled.run("status", "python", "manage.py", "status", "--once")
    first_page = admin_client.get("/admin/").content.decode()
    doctor = troubled.start("doctor", "python", "manage.py", "doctor", "--json")
    doctor.wait()
    found = json.loads(doctor.output()[doctor.output().index("[\n") :])
    problems = {finding["id"]: finding["problem"] for finding in found}
    for name, (metric, finding, state, words) in TROUBLES.items():
        assert f"max(notifications_{metric}) > 0" in [rule["expr"] for rule in alerts["rules"]]
        assert words in status
        assert words in first_page
        assert name in problems[f"scheduler.{finding}"]
        listed = admin_client.get(LIST, {"state": state}).context["cl"].result_list
        assert [task.name for task in listed] == [name]
    still = admin_client.get(LIST, {"state": "overdue"}).content.decode()
    assert "overdue: it is due, and no scheduler moves it on" in still
