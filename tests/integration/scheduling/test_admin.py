"""A person creates, pauses, resumes and runs a schedule, and sees what comes and what was."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from scheduling import jobs, ledger
from scheduling.clock import database_now
from scheduling.models import Fire, FireStatus, Schedule
from tests.integration.scheduling.conftest import apply_all_changes, make_due, tick
from tests.integration.scheduling.test_jobs_command import holiday_on

pytestmark = pytest.mark.django_db(transaction=True)

Make = Callable[..., PeriodicTask]
LIST = reverse("admin:django_celery_beat_periodictask_changelist")
ADD = reverse("admin:django_celery_beat_periodictask_add")


def form(interval: IntervalSchedule, **values: str) -> dict[str, str]:
    return {
        "name": "by hand",
        "task": "jobs.note",
        "enabled": "on",
        "interval": str(interval.pk),
        "args": "[]",
        "kwargs": "{}",
        "headers": "{}",
        "firing-TOTAL_FORMS": "1",
        "firing-INITIAL_FORMS": "0",
        "firing-0-misfire": "all",
        "firing-0-misfire_cap": "5",
        "firing-0-overlap": "skip",
        "firing-0-jitter_seconds": "0",
        "firing-0-guarantee": "at_least_once",
        "firing-0-max_retries": "0",
        "firing-0-retry_backoff_seconds": "10",
        "firing-0-concurrency": "1",
        **values,
    }


@pytest.fixture(autouse=True)
def _allowed(settings: Any) -> None:
    settings.SCHEDULING_ALLOWED_TASKS = ["jobs.*"]


@pytest.fixture
def interval(transactional_db: None) -> IntervalSchedule:
    return IntervalSchedule.objects.create(every=10, period="seconds")


def act(client: Client, action: str, task: PeriodicTask) -> None:
    answer = client.post(LIST, {"action": action, "_selected_action": [task.pk]}, follow=True)
    assert answer.status_code == 200


def page(client: Client, task: PeriodicTask) -> str:
    url = reverse("admin:django_celery_beat_periodictask_change", args=(task.pk,))
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_schedule_is_created_with_its_policy(
    admin_client: Client, interval: IntervalSchedule
) -> None:
    keys = {"concurrency": "2", "concurrency_key": "shop", "unique_key": "report"}
    values = {f"firing-0-{name}": value for name, value in keys.items()}
    values |= {"firing-0-unique_seconds": "60", "firing-0-pause_after": "3"}
    assert admin_client.post(ADD, form(interval, **values)).status_code == 302
    task = PeriodicTask.objects.get(name="by hand")
    policy = Schedule.objects.get(pk=task.pk)
    assert (policy.misfire, policy.concurrency, policy.unique_seconds) == ("all", 2, 60)
    assert (policy.concurrency_key, policy.unique_key) == ("shop", "report")
    assert policy.pause_after == 3
    assert "firing-0-pause_after" in page(admin_client, task)
    apply_all_changes()
    assert Schedule.objects.get(pk=task.pk).next_fire_at is not None


def test_saving_a_policy_leaves_the_schedulers_part_alone(
    admin_client: Client, make: Make, interval: IntervalSchedule
) -> None:
    task = make("by hand")
    apply_all_changes()
    planned = Schedule.objects.get(pk=task.pk).next_fire_at
    url = reverse("admin:django_celery_beat_periodictask_change", args=(task.pk,))
    values = {"firing-INITIAL_FORMS": "1", "firing-0-periodic_task": str(task.pk)}
    assert admin_client.post(url, form(interval, **values)).status_code == 302
    after = Schedule.objects.get(pk=task.pk)
    assert (after.misfire, after.next_fire_at) == ("all", planned)


def test_a_policy_that_cannot_be_kept_is_refused(
    admin_client: Client, interval: IntervalSchedule
) -> None:
    values = {"firing-0-guarantee": "at_most_once", "firing-0-max_retries": "3"}
    answer = admin_client.post(ADD, form(interval, **values))
    assert "is not tried again" in answer.content.decode()
    for values in (
        {"firing-0-overlap": "allow", "firing-0-concurrency_key": "shop"},
        {"firing-0-unique_key": "report"},
    ):
        answer = admin_client.post(ADD, form(interval, **values))
        said = answer.content.decode()
        assert "needs the overlap policy" in said or "go together" in said
    values = {"firing-0-condition": "nobody.knows"}
    answer = admin_client.post(ADD, form(interval, **values))
    assert "nobody.knows" in answer.content.decode()


def test_pages_call_it_a_schedule(admin_client: Client, make: Make) -> None:
    task = make("nightly")
    for url in (LIST, ADD, reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])):
        said = admin_client.get(url).content.decode()
        title = said.partition("<title>")[2].partition("</title>")[0]
        assert "chedule" in title
        assert "eriodic task" not in title
        assert "eriodic task" not in said  # nor in the path above the page
    deleted = reverse("admin:django_celery_beat_periodictask_delete", args=[task.pk])
    answer = admin_client.post(deleted, {"post": "yes"}, follow=True)
    assert "The schedule “nightly" in answer.content.decode()


def test_pause_resume_and_run_now_are_logged(admin_client: Client, make: Make, app: Celery) -> None:
    task = make()
    act(admin_client, "pause_selected", task)
    task.refresh_from_db()
    assert not task.enabled
    act(admin_client, "resume_selected", task)
    task.refresh_from_db()
    assert task.enabled
    act(admin_client, "run_selected", task)
    assert [fire.by_hand for fire in tick(app)] == [True]
    log = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
    assert list(log) == ["Paused", "Resumed", "Run now"]


def test_a_backfill_is_previewed_then_ordered_and_logged(admin_client: Client, make: Make) -> None:
    task = make("hourly", crontab=CrontabSchedule.objects.create(minute="0"))
    where = reverse("admin:django_celery_beat_periodictask_backfill", args=(task.pk,))
    assert where in page(admin_client, task)
    assert "until_0" in admin_client.get(where).content.decode()

    def sent(**changes: str) -> Any:
        form = {"since_0": "2026-03-01", "since_1": "00:00", "pace": "60"}
        form |= {"until_0": "2026-03-01", "until_1": "03:00", **changes}
        return admin_client.post(where, form)

    told = sent(dry="1").content.decode()
    for said in ("3 would run", "Sun 01 Mar 2026, 02:00:00", "Run 3"):
        assert said in told
    assert not Fire.objects.exists()
    for changes, words in (
        ({"until_0": "2026-02-01"}, "must end after it begins"),
        ({"until_0": "2999-01-01"}, "must lie in the past"),
        ({"since_0": "1990-01-01"}, "more than 1000"),
        ({"pace": "86401"}, "from 0 seconds to a day"),
        ({"pace": "-1"}, "greater than or equal"),
        ({"since_0": "never"}, "valid date"),
    ):
        assert words in sent(go="1", **changes).content.decode()
    assert not Fire.objects.exists()
    assert sent(go="1").status_code == 302
    assert Fire.objects.filter(schedule=task.pk, by_hand=True).count() == 3
    assert "Nothing would run" in sent(dry="1").content.decode()
    (said,) = LogEntry.objects.values_list("change_message", flat=True)
    assert "Backfill of 3 runs, from 2026-03-01T00:00" in said
    assert admin_client.get(where.replace(str(task.pk), "0")).status_code == 404


def test_the_list_draws_the_last_and_the_next_fires_of_all(
    admin_client: Client, client: Client, make: Make
) -> None:
    soon, later = make("soon"), make("later")
    now = database_now()
    for task, at in ((soon, timedelta(minutes=5)), (later, timedelta(days=9))):
        Schedule.objects.update_or_create(pk=task.pk, defaults={"next_fire_at": now + at})
    Fire.objects.create(
        schedule_id=later.pk,
        scheduled_for=now - timedelta(hours=1),
        fire_at=now - timedelta(hours=1),
        finished_at=now,
        status=FireStatus.FAILED,
    )
    shown = admin_client.get(LIST).content.decode()
    assert "soon, planned" in shown
    assert "later, failed" in shown.lower()
    assert "later, planned" not in shown  # it is days away
    viewer = User.objects.create_user("looker", password="looker", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_periodictask"))
    client.force_login(viewer)
    assert "soon, planned" not in client.get(LIST).content.decode()


def test_a_backfill_is_for_those_who_may_steer(client: Client, make: Make) -> None:
    viewer = User.objects.create_user("viewer", password="viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_periodictask"))
    client.force_login(viewer)
    task = make("hourly", crontab=CrontabSchedule.objects.create(minute="0"))
    where = reverse("admin:django_celery_beat_periodictask_backfill", args=(task.pk,))
    assert client.get(where).status_code == client.post(where, {"go": "1"}).status_code == 403
    assert where not in page(client, task)


def test_calendars_are_shown_with_who_goes_by_them_and_a_new_file_is_compared(
    admin_client: Client, client: Client, tmp_path: Path, settings: Any
) -> None:
    where = reverse("admin:django_celery_beat_periodictask_calendars")
    assert "names no folder" in admin_client.get(where).content.decode()
    settings.SCHEDULING_CALENDARS = str(tmp_path)
    assert "has no <code>.ics</code> file" in admin_client.get(where).content.decode()
    first = (database_now() + timedelta(days=3)).date()
    (tmp_path / "own.ics").write_text(holiday_on(first))
    (tmp_path / "broken.ics").write_text("no calendar")
    schedule = {"cron": "0 9 * * *", "calendar": "own", "timezone": "Europe/Rome"}
    jobs.define({"name": "daily", "handler": "jobs.note", "schedule": schedule})
    task = PeriodicTask.objects.get(name="daily")
    seen = admin_client.get(where).content.decode()
    assert "Stocktaking" in seen
    assert "is not iCalendar" in seen
    assert f"/{task.pk}/change/" in seen
    assert "09:00:00 CE" in seen

    def compared(content: str) -> str:
        file = ContentFile(content.encode(), name="new.ics")
        values = {"calendar": "own", "days": "30", "file": file}
        return admin_client.post(where, values).content.decode()

    assert "No fire moves." in compared(holiday_on(first))
    moves = compared(holiday_on(first + timedelta(days=1)))
    rows = re.findall(r'<tr><th class="is-text" scope="row">daily</th>(.*?)</tr>', moves)
    assert ["not at all" in row for row in rows] == [True, True]
    assert f"{first:%a %d %b %Y}, 09:00:00" in rows[0]
    assert "is not iCalendar" in compared("no calendar")
    empty = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:test\nEND:VCALENDAR\n"
    assert "The file has no event that takes place" in compared(empty)
    assert (tmp_path / "own.ics").read_text() == holiday_on(first)
    client.force_login(User.objects.create_user("looker", is_staff=True))
    assert client.get(where).status_code == 403


def test_a_group_is_filtered_and_paused_as_one(admin_client: Client) -> None:
    groups = {"a": ["reports"], "b": ["reports", "nightly"], "c": ["nightly"], "d": []}
    for name, names in groups.items():
        jobs.register(name, "jobs.note", 60, groups=names)
    Schedule.objects.filter(periodic_task__name="d").update(groups=5)  # by SQL
    url = f"{LIST}?group=reports"
    shown = admin_client.get(url)
    keys = [task.pk for task in shown.context["cl"].result_list]
    assert "nightly" in shown.content.decode()
    admin_client.post(url, {"action": "pause_selected", "_selected_action": keys})
    paused = PeriodicTask.objects.filter(enabled=False).values_list("name", flat=True)
    assert {*paused} == {"a", "b"}


def test_who_may_only_look_cannot_pause(client: Client, make: Make) -> None:
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_periodictask"))
    client.force_login(looker)
    task = make()
    act(client, "pause_selected", task)
    task.refresh_from_db()
    assert task.enabled


def test_the_next_five_fires_are_shown_in_the_schedules_zone(
    admin_client: Client, make: Make
) -> None:
    rule = CrontabSchedule.objects.create(minute="30", hour="12", timezone="Asia/Kolkata")
    shown = page(admin_client, make(crontab=rule))
    assert shown.count("12:30:00 IST") == 5
    assert "At 12:30 PM" in shown


def test_the_fires_so_far_are_shown_with_what_became_of_them(
    admin_client: Client, make: Make, app: Celery
) -> None:
    task = make()
    apply_all_changes()
    make_due(task)
    tick(app)
    fire = Fire.objects.get()
    url = reverse("admin:scheduling_fire_change", args=(fire.pk,))
    assert url in page(admin_client, task)
    its_page = admin_client.get(url).content.decode()
    assert "published" in its_page
    assert "(&#x27;" not in its_page
    everything = reverse("admin:scheduling_fire_changelist") + f"?schedule={task.pk}"
    assert admin_client.get(everything).status_code == 200


def test_a_quarantined_schedule_shows_its_reason(admin_client: Client, make: Make) -> None:
    never = CrontabSchedule.objects.create(day_of_month="31", month_of_year="2")
    task = make(crontab=never)
    apply_all_changes()
    assert "never occurs" in page(admin_client, task)
    assert "never occurs" in admin_client.get(f"{LIST}?state=quarantined").content.decode()


def test_a_form_does_not_load_every_crontab(admin_client: Client, make: Make) -> None:
    CrontabSchedule.objects.bulk_create(
        CrontabSchedule(minute=str(number % 60), hour=str(number // 60)) for number in range(300)
    )
    assert page(admin_client, make()).count("<option") < 150
    found = admin_client.get(
        reverse("admin:autocomplete"),
        {
            "app_label": "django_celery_beat",
            "model_name": "periodictask",
            "field_name": "crontab",
            "term": "59",
        },
    )
    assert found.json()["results"]


def test_a_failed_run_is_shown_with_its_attempts_and_replayed(
    admin_client: Client, make: Make, app: Celery
) -> None:
    make_due(_known(make()))
    (fire,) = tick(app)
    attempt = ledger.begin(fire.pk, "worker@host")
    assert attempt is not None
    ledger.fail(fire.pk, attempt, ValueError("no such order"))
    listed = reverse("admin:scheduling_fire_changelist")
    open_ones = admin_client.get(listed, {"failed": "open"}).content.decode()
    assert str(fire.pk) in open_ones
    shown = admin_client.get(reverse("admin:scheduling_fire_change", args=(fire.pk,)))
    assert "worker@host: ValueError: no such order" in shown.content.decode()
    for action in ("replay_selected", "replay_causes", "discard_selected"):
        posted = {"action": action, "_selected_action": [str(fire.pk)]}
        assert admin_client.post(listed, posted, follow=True).status_code == 200
    fire.refresh_from_db()
    assert fire.resolution == "replayed"
    assert [again.pk for again in tick(app)] == [fire.replayed_as]
    assert str(fire.pk) not in admin_client.get(listed, {"failed": "open"}).content.decode()


def _known(task: PeriodicTask) -> PeriodicTask:
    apply_all_changes()
    return task


def test_a_fires_page_links_to_the_notification_it_made(
    admin_client: Client, make: Make, app: Celery
) -> None:
    kwargs = '{"channel": "simulator", "recipient": "ada", "body": "x"}'
    make_due(_known(make(task="notifications.send_notification", kwargs=kwargs)))
    (fire,) = tick(app)
    shown = admin_client.get(reverse("admin:scheduling_fire_change", args=(fire.pk,)))
    made = reverse("admin:notifications_notification_change", args=(fire.pk,))
    assert made in shown.content.decode()


def test_a_fires_error_is_shown_without_addresses(
    admin_client: Client, make: Make, app: Celery
) -> None:
    task = make()
    apply_all_changes()
    make_due(task)
    tick(app)
    error = "SMTPError: no mailbox ada@example.org"
    history = [{"attempt": 1, "ended_at": "then", "worker": "", "error": error}]
    Fire.objects.update(status="failed", error=error, history=history)
    fire = Fire.objects.get()
    for page in (
        reverse("admin:scheduling_fire_change", args=[fire.pk]),
        reverse("admin:django_celery_beat_periodictask_change", args=[task.pk]),
    ):
        shown = admin_client.get(page).content.decode()
        assert "SMTPError: no mailbox …" in shown
        assert "ada@example.org" not in shown


def test_the_help_of_a_policy_has_the_words_of_its_choices(admin_client: Client) -> None:
    shown = admin_client.get(ADD).content.decode()
    assert "With “skip the new one” or “let one wait”: how many runs" in shown
    assert "&#x27;skip&#x27;" not in shown


def test_failed_runs_have_a_page_of_their_own(admin_client: Client) -> None:
    found = admin_client.get(LIST).content.decode()
    where = f"{reverse('admin:scheduling_fire_changelist')}?failed=open"
    assert f'href="{where}"' in found
    shown = admin_client.get(where)
    assert shown.status_code == 200
    active = [
        item["title"]
        for group in shown.context["sidebar_navigation"]
        for item in group["items"]
        if item["active"]
    ]
    assert active == ["Failed runs"]
