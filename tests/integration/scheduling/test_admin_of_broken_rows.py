"""A row that cannot be read shows its fault in admin, can be mended there, and hides no other."""

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from django.db import connection
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, PeriodicTask

from notifications.monitoring.diagnosis import schedules as diagnosis
from scheduling.clock import database_now
from scheduling.models import Fire, Schedule
from tests.integration.scheduling.conftest import apply_all_changes
from tests.integration.scheduling.test_admin import LIST, form

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor == 'sqlite'", reason="its columns have no types"),
]

Make = Callable[..., PeriodicTask]
FIRES = reverse("admin:scheduling_fire_changelist")
TASKS = "django_celery_beat_periodictask"

BROKEN = [
    (TASKS, "kwargs", "{bad", "Its kwargs cannot be read"),
    (TASKS, "kwargs", "[" * 5000, "Its kwargs cannot be read"),
    (TASKS, "kwargs", '{"recipients": 5, "template": ["x"]}', ""),
    (TASKS, "headers", "null", "Its headers must be"),
    (TASKS, "start_time", "infinity", "Its start_time cannot be read"),
    (TASKS, "last_run_at", "-infinity", "Its last_run_at cannot be read"),
    (TASKS, "expires", "9999-12-31 23:59:59+00", "Its expires cannot be read"),
    ("scheduling_schedule", "next_fire_at", "infinity", "Its next_fire_at cannot be read"),
    ("django_celery_beat_crontabschedule", "timezone", "Mars/Base", "Its crontab cannot be read"),
    ("django_celery_beat_crontabschedule", "minute", "*/0", ""),
    ("django_celery_beat_clockedschedule", "clocked_time", "infinity", "Its clocked cannot be"),
]


def page_of(task: PeriodicTask, page: str = "change") -> str:
    return reverse(f"admin:django_celery_beat_periodictask_{page}", args=[task.pk])


def text(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, url
    return answer.content.decode()


def write(table: str, column: str, value: str, task: PeriodicTask) -> None:
    keys = {TASKS: ("id", task.pk), "scheduling_schedule": ("periodic_task_id", task.pk)}
    rule = task.crontab_id or task.clocked_id
    key, row = keys.get(table, ("id", rule))
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = %s WHERE {key} = %s", [value, row])


@pytest.fixture
def broken(make: Make, app: Celery, settings: Any) -> Callable[[str, str, str, str], PeriodicTask]:
    """Make a schedule that has fired, and break a column of it."""
    settings.TIME_ZONE = "Europe/Rome"  # east of UTC the last hours of 9999 are no local time

    def create(name: str, table: str, column: str, value: str) -> PeriodicTask:
        rule: dict[str, Any] = {"crontab": CrontabSchedule.objects.create(minute="7")}
        if "clocked" in table:
            moment = ClockedSchedule.objects.create(clocked_time=database_now())
            rule = {"clocked": moment, "one_off": True}
        task = make(name, task="notifications.send_notification", **rule)
        apply_all_changes()
        schedule = Schedule.objects.get(pk=task.pk)
        now = database_now()
        Fire.objects.create(schedule=schedule, scheduled_for=now, fire_at=now)
        write(table, column, value, task)
        return task

    return create


def test_broken_rows_show_their_faults_and_can_be_paused_and_deleted(
    admin_client: Client, broken: Callable[..., PeriodicTask], make: Make
) -> None:
    make("healthy")
    tasks = {broken(f"broken {n}", *row[:3]): row[3] for n, row in enumerate(BROKEN)}
    listed, fires = text(admin_client, LIST), text(admin_client, FIRES)
    assert "healthy" in listed
    for task, fault in tasks.items():
        assert task.name in listed
        assert task.name in fires
        assert fault in listed
        assert fault in text(admin_client, page_of(task))
    keys = [task.pk for task in tasks]
    for action in ("resume_selected", "run_selected", "pause_selected"):
        posted = {"action": action, "_selected_action": keys}
        assert admin_client.post(LIST, posted, follow=True).status_code == 200
    enabled = PeriodicTask.objects.filter(enabled=True)
    assert [*enabled.values_list("name", flat=True)] == ["healthy"]
    posted = {"action": "delete_selected", "_selected_action": keys}
    assert "broken 1" in admin_client.post(LIST, posted).content.decode()
    assert admin_client.post(LIST, {**posted, "post": "yes"}).status_code == 302
    assert [*PeriodicTask.objects.values_list("name", flat=True)] == ["healthy"]
    assert not Fire.objects.exists()


def test_one_broken_row_is_looked_at_paused_and_deleted_on_its_own_pages(
    admin_client: Client, broken: Callable[..., PeriodicTask]
) -> None:
    task = broken("broken", TASKS, "start_time", "infinity")
    fire = reverse("admin:scheduling_fire_change", args=[Fire.objects.get().pk])
    assert "broken" in text(admin_client, fire)
    assert "broken" in text(admin_client, f"{FIRES}?schedule={task.pk}")
    assert text(admin_client, page_of(task, "history"))
    for action in ("run", "duplicate", "pause"):
        where = f"{page_of(task)[:-7]}{action}/"
        answer = admin_client.post(where, {"_form_submitted": "on"}, follow=True)
        assert answer.status_code == 200
    assert not PeriodicTask.objects.values_list("enabled", flat=True).get(pk=task.pk)
    assert "broken" in text(admin_client, page_of(task, "delete"))
    assert admin_client.post(page_of(task, "delete"), {"post": "yes"}).status_code == 302
    assert not PeriodicTask.objects.exists()


def test_saving_its_form_mends_a_broken_row(
    admin_client: Client, broken: Callable[..., PeriodicTask], make: Make, settings: Any
) -> None:
    settings.SCHEDULING_ALLOWED_TASKS = ["jobs.*"]
    interval = make("healthy").interval
    when = {"when": "cron", "cron": "7 * * * *", "timezone": "UTC", "interval": ""}
    for number, (table, column, value) in enumerate(
        [
            (TASKS, "start_time", "infinity"),
            (TASKS, "last_run_at", "infinity"),
            ("django_celery_beat_crontabschedule", "timezone", "Mars/Base"),
        ]
    ):
        task = broken(f"broken {number}", table, column, value)
        own = {"firing-INITIAL_FORMS": "1", "firing-0-periodic_task": str(task.pk)}
        values = form(interval) | {"name": task.name, **when, **own}
        answer = admin_client.post(page_of(task), values)
        assert answer.status_code == 302, answer.context["adminform"].form.errors
        apply_all_changes()
        assert PeriodicTask.objects.select_related("crontab").get(pk=task.pk).crontab
        schedule = Schedule.objects.get(pk=task.pk)
        assert (schedule.quarantine_reason, schedule.misfire) == ("", "all")
        assert schedule.next_fire_at is not None


def test_doctor_names_a_quarantined_row_that_cannot_be_read(
    broken: Callable[..., PeriodicTask],
) -> None:
    broken("broken", TASKS, "start_time", "infinity")
    apply_all_changes()
    assert ["'broken'" in finding.problem for finding in diagnosis.quarantined()] == [True]
