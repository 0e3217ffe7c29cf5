"""A schedule's page and list in the admin: what they show, and what is done there."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import (
    ClockedSchedule,
    IntervalSchedule,
    PeriodicTask,
)

from scheduling import jobs
from scheduling.clock import database_now
from scheduling.models import Fire, Schedule
from tests.integration.scheduling.conftest import apply_all_changes
from tests.integration.scheduling.schedule_forms import (
    LIST,
    Make,
    _allowed,
    change_url,
    errors_of,
    made,
    typed,
)
from tests.integration.scheduling.test_admin import page

__all__ = ["_allowed"]

pytestmark = pytest.mark.django_db(transaction=True)


def test_its_page_has_a_timeline_of_its_fires(admin_client: Client, make: Make) -> None:
    task, now = make(), database_now()
    apply_all_changes()
    schedule = Schedule.objects.get(pk=task.pk)
    for number, (status, late) in enumerate(
        [("succeeded", 0), ("succeeded", 60), ("failed", 0), ("skipped_overlap", 0)], 1
    ):
        due = now - timedelta(hours=number)
        Fire.objects.create(
            schedule=schedule,
            scheduled_for=due,
            fire_at=due,
            dispatched_at=due + timedelta(seconds=late),
            finished_at=now,
            status=status,
        )
    page = admin_client.get(change_url(task)).content.decode()
    drawing = page[page.index('<svg class="sch-timeline"') :]
    drawing = drawing[: drawing.index("</svg>")]
    kinds = re.findall(r'<circle class="sch-(\w+)"', drawing)
    assert sorted(set(kinds)) == ["failed", "late", "planned", "skipped", "succeeded"]
    assert "60.0 s late" in drawing
    assert "style=" not in drawing
    assert "<script" not in drawing


def test_a_schedule_whose_rule_has_ended_is_not_resumed_and_may_be_edited(
    admin_client: Client,
) -> None:
    past = (database_now() - timedelta(days=9)).isoformat()
    rule = {"rrule": "FREQ=DAILY;COUNT=3", "from": past}
    jobs.allow("jobs.note")
    jobs.register("by hand", "jobs.note", {"rrule": "FREQ=DAILY", "from": past}, enabled=False)
    task = PeriodicTask.objects.get()
    kept = Schedule.objects.get(pk=task.pk)
    assert kept.recurrence is not None
    kept.recurrence["rule"] = rule
    kept.save(update_fields=["recurrence"])
    row = {
        **typed(when="row", crontab=str(task.crontab_id), description="for colleagues"),
        "firing-INITIAL_FORMS": "1",
        "firing-0-periodic_task": str(task.pk),
    }
    refused = admin_client.post(change_url(task), row)
    assert "has ended" in " ".join(errors_of(refused)["enabled"])
    act = {"action": "resume_selected", "_selected_action": [task.pk]}
    answer = admin_client.post(LIST, act, follow=True)
    assert "has ended" in answer.content.decode()
    assert admin_client.post(change_url(task), {**row, "enabled": ""}).status_code == 302
    PeriodicTask.objects.update(enabled=True)  # by SQL: it rests, and is at no fault
    apply_all_changes()
    after = Schedule.objects.get(pk=task.pk)
    assert (after.next_fire_at, after.quarantined_at) == (None, None)


def test_a_once_that_has_fired_is_not_resumed(admin_client: Client) -> None:
    made(admin_client, when="once", at_0="2099-01-02", at_1="03:04:05")
    past = database_now().replace(microsecond=0) - timedelta(days=1)
    ClockedSchedule.objects.update(clocked_time=past)
    apply_all_changes()
    task = PeriodicTask.objects.get()
    Schedule.objects.update(answered_until=past)
    PeriodicTask.objects.update(enabled=False)
    act = {"action": "resume_selected", "_selected_action": [task.pk]}
    assert "has ended" in admin_client.post(LIST, act, follow=True).content.decode()
    typed_again = typed(when="once", at_0=f"{past:%Y-%m-%d}", at_1=f"{past:%H:%M:%S}")
    row = {**typed_again, "firing-INITIAL_FORMS": "1", "firing-0-periodic_task": str(task.pk)}
    refused = admin_client.post(change_url(task), row)
    assert "has ended" in " ".join(errors_of(refused)["enabled"])
    assert not PeriodicTask.objects.get().enabled


def test_a_duplicate_is_paused_and_has_the_policy(admin_client: Client, make: Make) -> None:
    task = make("nightly", kwargs='{"a": 1}')
    apply_all_changes()
    Schedule.objects.filter(pk=task.pk).update(misfire="all", jitter_seconds=7)
    answer = admin_client.post(f"{change_url(task)[:-7]}duplicate/", {"_form_submitted": "on"})
    copy = PeriodicTask.objects.get(name="nightly (copy)")
    assert answer.headers["Location"] == change_url(copy)
    assert (copy.enabled, copy.kwargs, copy.interval) == (False, '{"a": 1}', task.interval)
    policy = Schedule.objects.get(pk=copy.pk)
    assert (policy.misfire, policy.jitter_seconds) == ("all", 7)
    assert LogEntry.objects.get().object_id == str(copy.pk)


@pytest.mark.parametrize(
    ("action", "enabled", "logged"),
    [("pause", False, "Paused"), ("resume", True, "Resumed"), ("run", True, "Run now")],
)
def test_its_page_pauses_resumes_and_runs_it(
    admin_client: Client, make: Make, action: str, enabled: bool, logged: str
) -> None:
    task = make(enabled=action != "resume")
    url = f"{change_url(task)[:-7]}{action}/"
    assert admin_client.get(url).status_code == 200  # asks first
    assert not LogEntry.objects.exists()
    assert admin_client.post(url, {"_form_submitted": "on"}).status_code == 302
    task.refresh_from_db()
    assert task.enabled is enabled
    assert LogEntry.objects.get().change_message == logged


@pytest.mark.parametrize("action", ["pause", "resume", "run", "duplicate"])
def test_who_may_only_look_can_do_none_of_it(client: Client, make: Make, action: str) -> None:
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_periodictask"))
    client.force_login(looker)
    task = make(enabled=action != "resume", kwargs='{"secret": "seagull"}')
    client.post(f"{change_url(task)[:-7]}{action}/", {"_form_submitted": "on"})
    assert PeriodicTask.objects.get().enabled is (action != "resume")
    assert not LogEntry.objects.exists()
    shown = page(client, task)
    assert "every 10 seconds" in shown.lower()
    assert "seagull" not in shown


def test_the_next_fire_of_a_paused_schedule_says_so(admin_client: Client, make: Make) -> None:
    assert "it does not fire now" in page(admin_client, make(enabled=False))


def test_a_list_of_many_schedules_asks_few_questions(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    rules = [
        IntervalSchedule.objects.create(every=number, period="seconds") for number in range(1, 50)
    ]
    PeriodicTask.objects.bulk_create(
        PeriodicTask(
            name=f"job {number}",
            task="jobs.note",
            interval=rules[number % 49],
            last_run_at=datetime.now(UTC) - timedelta(hours=1),
        )
        for number in range(2000)
    )
    apply_all_changes()
    url = reverse("admin:django_celery_beat_periodictask_changelist")
    with django_assert_max_num_queries(12):
        assert admin_client.get(url).status_code == 200
