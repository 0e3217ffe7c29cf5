"""The schedule's form: when it fires is typed in one of three ways, and shown as it is typed."""

from datetime import UTC, datetime
from typing import Any

import pytest
from celery import Celery
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils.timezone import get_current_timezone
from django_celery_beat.models import (
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
)

from scheduling import jobs
from scheduling.admin.when import shown
from scheduling.models import Schedule
from scheduling.preview import upcoming_fires
from scheduling.scheduler import Scheduler
from tests.integration.scheduling.conftest import apply_all_changes
from tests.integration.scheduling.schedule_forms import (
    LIST,
    OUTLOOK,
    Make,
    _allowed,
    change_url,
    errors_of,
    made,
    typed,
)
from tests.integration.scheduling.test_admin import ADD

__all__ = ["_allowed"]

pytestmark = pytest.mark.django_db(transaction=True)


def outlook(client: Client, **values: str) -> dict[str, Any]:
    answer = client.get(OUTLOOK, values)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_a_crontab_line_is_typed_with_its_zone(admin_client: Client) -> None:
    task = made(admin_client, when="cron", cron="30 9 * * 1-5", timezone="Asia/Kolkata")
    assert (task.crontab.minute, task.crontab.day_of_week) == ("30", "1-5")
    assert str(task.crontab.timezone) == "Asia/Kolkata"
    apply_all_changes()
    due = Schedule.objects.get(pk=task.pk).next_fire_at
    assert due is not None
    assert (due.hour, due.minute) == (4, 0)


def test_an_interval_is_typed(admin_client: Client) -> None:
    task = made(admin_client, when="every", every="90", period="minutes")
    assert str(task.interval) == "every 90 minutes"


def test_a_moment_is_typed_and_fires_once(admin_client: Client) -> None:
    task = made(admin_client, when="once", at_0="2099-01-02", at_1="03:04:05")
    assert task.clocked.clocked_time == datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert task.one_off


def test_two_schedules_of_one_rule_share_its_row(admin_client: Client) -> None:
    first = made(admin_client, when="cron", cron="0 1 * * *", timezone="UTC")
    PeriodicTask.objects.update(name="another")
    assert made(admin_client, when="cron", cron="0 1 * * *", timezone="UTC") != first
    assert CrontabSchedule.objects.count() == 1


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"when": "cron", "cron": "0 9 * *", "timezone": "UTC"}, "cron", "needs five"),
        ({"when": "cron", "cron": "0 25 * * *", "timezone": "UTC"}, "cron", "25"),
        ({"when": "cron", "cron": "*/0 * * * *", "timezone": "UTC"}, "cron", "1 or more"),
        ({"when": "cron", "cron": "0 0 31 2 *", "timezone": "UTC"}, "cron", "never occurs"),
        ({"when": "cron", "cron": "0 9 * * *", "timezone": "Mars/Base"}, "timezone", "Mars/Base"),
        ({"when": "cron", "cron": "", "timezone": "UTC"}, "cron", "needed"),
        ({"when": "every", "every": "5", "period": "microseconds"}, "every", "one second"),
        ({"when": "every", "every": "0", "period": "minutes"}, "every", "greater than"),
        ({"when": "once", "at_0": "2001-01-01", "at_1": "00:00"}, "at", "past"),
    ],
)
def test_what_means_nothing_is_refused_beside_its_field(
    admin_client: Client, values: dict[str, str], field: str, words: str
) -> None:
    answer = admin_client.post(ADD, typed(**values))
    assert words in " ".join(errors_of(answer)[field])
    assert words in outlook(admin_client, **values)["problem"]
    assert not PeriodicTask.objects.exists()


@pytest.mark.parametrize(
    ("start", "expires", "words"),
    [("2100-01-02", "2100-01-01", "before the start"), ("", "2001-01-01", "past")],
)
def test_an_expiry_that_leaves_no_due_time_is_refused_beside_its_field(
    admin_client: Client, start: str, expires: str, words: str
) -> None:
    values = {"start_time_0": start, "start_time_1": "00:00" if start else ""}
    limits = {**values, "expires_0": expires, "expires_1": "00:00"}
    answer = admin_client.post(ADD, typed(when="every", every="5", period="minutes", **limits))
    assert words in str(errors_of(answer)["expires"])


def test_headers_that_celery_uses_itself_are_refused_beside_their_field(
    admin_client: Client,
) -> None:
    every = {"when": "every", "every": "5", "period": "minutes"}
    answer = admin_client.post(ADD, typed(**every, headers='{"timelimit": 5}'))
    assert "timelimit" in " ".join(errors_of(answer)["headers"])
    assert made(admin_client, **every, headers='{"shop": "5"}').headers == '{"shop": "5"}'


def test_the_meaning_and_the_next_five_fires_are_shown_as_one_types(admin_client: Client) -> None:
    found = outlook(admin_client, when="cron", cron="30 9 * * *", timezone="Asia/Kolkata")
    assert found["words"].startswith("At 09:30 AM")
    assert len(found["fires"]) == 5
    assert all("09:30:00 IST" in fire for fire in found["fires"])


def test_the_outlook_keeps_to_start_and_expiry(admin_client: Client) -> None:
    noon = {"when": "cron", "cron": "0 12 * * *", "timezone": "UTC"}
    ends = {"start_time_0": "2099-03-01", "expires_0": "2099-03-02", "expires_1": "13:00"}
    found = outlook(admin_client, **noon, **ends, start_time_1="00:00")
    assert found["fires"] == ["Sun 01 Mar 2099, 12:00:00 UTC", "Mon 02 Mar 2099, 12:00:00 UTC"]


def test_a_changed_rule_previews_which_fires_move(admin_client: Client, make: Make) -> None:
    nine, _ = CrontabSchedule.objects.get_or_create(minute="0", hour="9", timezone="UTC")
    task = make(crontab=nine)
    apply_all_changes()
    same = outlook(admin_client, when="cron", cron="0 9 * * *", timezone="UTC", task=str(task.pk))
    assert (same["no_longer"], same["new"]) == ([], [])
    cron = {"when": "cron", "timezone": "UTC", "task": str(task.pk)}
    later = outlook(admin_client, **cron, cron="0 9,21 * * *")
    assert later["no_longer"] == []
    assert later["new"]
    assert all("21:00:00" in fire for fire in later["new"])
    gone = outlook(admin_client, **cron, cron="0 10 * * *")
    assert {fire.split(", ")[1][:8] for fire in gone["no_longer"]} == {"09:00:00"}
    assert {fire.split(", ")[1][:8] for fire in gone["new"]} == {"10:00:00"}


@pytest.mark.parametrize(
    ("before", "change", "rule"),
    [
        (
            {"when": "every", "every": "10", "period": "minutes"},
            {"every": "20"},
            "<freq: 20.00 minutes>",
        ),
        (
            {"when": "cron", "cron": "20 * * * *", "timezone": "UTC"},
            {"timezone": "Asia/Kolkata"},
            "Asia/Kolkata",
        ),
    ],
    ids=["interval", "zone"],
)
def test_a_running_schedules_change_is_seen_at_once_and_fires_when_the_form_said(
    admin_client: Client, app: Celery, before: dict[str, str], change: dict[str, str], rule: str
) -> None:
    task = made(admin_client, **before)
    apply_all_changes()
    scheduler = Scheduler(app)
    assert rule not in _rule_in(scheduler)
    after = before | change
    said = outlook(admin_client, **after, task=str(task.pk))
    of_policy = {"firing-INITIAL_FORMS": "1", "firing-0-periodic_task": str(task.pk)}
    answer = admin_client.post(change_url(task), typed(**after, **of_policy))
    assert answer.status_code == 302, errors_of(answer)
    assert rule in _rule_in(scheduler)  # before any scheduler has planned it anew
    apply_all_changes()
    again = PeriodicTask.objects.get(pk=task.pk)
    zone = again.crontab.timezone if again.crontab else get_current_timezone()
    assert [shown(moment, zone) for moment in upcoming_fires(again)] == said["fires"]


def _rule_in(scheduler: Scheduler) -> str:
    """Return what Celery's own property says of a schedule's rule, with its zone."""
    found = scheduler.schedule["by hand"].schedule
    return f"{found} {getattr(found, 'tz', '')}"


def test_only_who_may_see_schedules_may_ask_for_an_outlook(client: Client) -> None:
    stranger = User.objects.create_user("stranger", is_staff=True)
    client.force_login(stranger)
    assert client.get(OUTLOOK, {"when": "cron"}).status_code == 403
    stranger.user_permissions.add(Permission.objects.get(codename="view_periodictask"))
    assert client.get(OUTLOOK, {"when": "cron"}).status_code == 200


def test_the_form_shows_what_was_typed_before(admin_client: Client, make: Make) -> None:
    rule = CrontabSchedule.objects.create(minute="5", hour="4", timezone="Europe/Rome")
    shown = admin_client.get(change_url(make(crontab=rule))).context["adminform"].form
    assert (shown["when"].value(), shown["cron"].value()) == ("cron", "5 4 * * *")
    assert shown["timezone"].value() == "Europe/Rome"


@pytest.mark.parametrize("line", ["0 9 L * *", "0 9 * * 5L", "0 9 * * 6#3", "0 9 15W * *"])
def test_a_line_that_no_row_holds_is_kept_as_typed(admin_client: Client, line: str) -> None:
    cron = {"when": "cron", "cron": line, "timezone": "Europe/Rome"}
    told = outlook(admin_client, **cron)
    assert (told["problem"], line in told["words"]) == ("", True)
    assert all("09:00:00" in fire for fire in told["fires"])
    task = made(admin_client, **cron)
    assert jobs.get("by hand").definition["schedule"] == {"cron": line, "timezone": "Europe/Rome"}
    page = admin_client.get(change_url(task))
    assert page.context["adminform"].form["cron"].value() == line
    assert line in page.context["subtitle"]
    assert line in admin_client.get(LIST).content.decode()
    edited = typed(**cron, description="changed")
    assert admin_client.post(change_url(task), edited).status_code == 302
    assert jobs.get("by hand").definition["schedule"]["cron"] == line
    plain = typed(**{**cron, "cron": "0 0 * * *"})  # the row that stood for it
    assert admin_client.post(change_url(task), plain).status_code == 302
    assert jobs.get("by hand").definition["schedule"]["cron"] == "0 0 * * *"
    assert admin_client.post(change_url(task), edited).status_code == 302
    assert jobs.get("by hand").definition["schedule"]["cron"] == line


def test_a_rule_that_cannot_be_typed_is_shown_and_survives_an_edit(admin_client: Client) -> None:
    rule = {"rrule": "FREQ=MONTHLY;BYDAY=-1FR", "timezone": "Europe/Rome"}
    jobs.define({"name": "by hand", "handler": "jobs.note", "schedule": rule})
    task = PeriodicTask.objects.get(name="by hand")
    page = admin_client.get(change_url(task))
    assert page.context["adminform"].form["when"].value() == "row"
    assert "FREQ=MONTHLY;BYDAY=-1FR Europe/Rome" in page.content.decode()
    assert "FREQ=MONTHLY" in admin_client.get(LIST).content.decode()
    values = typed(when="row", crontab=str(task.crontab_id), description="changed")
    assert admin_client.post(change_url(task), values).status_code == 302
    assert jobs.get("by hand").definition["schedule"] == rule


def test_a_jitter_as_long_as_the_typed_rules_gap_is_refused(admin_client: Client) -> None:
    minute = {"when": "every", "every": "1", "period": "minutes"}
    answer = admin_client.post(ADD, typed(**minute, **{"firing-0-jitter_seconds": "61"}))
    assert answer.status_code == 200
    assert "below the time" in answer.content.decode()
    assert not PeriodicTask.objects.exists()
    jitter = {"firing-0-jitter_seconds": "61"}
    task = made(admin_client, **{**minute, "period": "hours"}, **jitter)
    kept = {"firing-0-periodic_task": str(task.pk), "firing-INITIAL_FORMS": "1"}
    answer = admin_client.post(change_url(task), typed(**minute, **jitter, **kept))
    assert "below the time" in answer.content.decode()


@pytest.mark.parametrize(
    ("line", "seconds", "is_refused"),
    [("0 9 15W * *", "86400", False), ("0 9-17 L * *", "3600", True)],
)
def test_a_jitter_is_compared_with_the_rule_itself_and_not_with_the_row_in_its_place(
    admin_client: Client, line: str, seconds: str, is_refused: bool
) -> None:
    jitter = {"firing-0-jitter_seconds": seconds}
    values = typed(when="cron", cron=line, timezone="UTC", **jitter)
    answer = admin_client.post(ADD, values)
    assert ("which is 3600 seconds" in answer.content.decode()) == is_refused
    assert PeriodicTask.objects.exists() != is_refused


def test_saving_without_touching_the_rule_keeps_its_row(admin_client: Client, make: Make) -> None:
    # The row of another spelling: 60 seconds would be found as a minute.
    every = IntervalSchedule.objects.create(every=60, period="seconds")
    task = make("by hand", interval=every)
    values = typed(when="every", every="60", period="seconds", description="changed")
    assert admin_client.post(change_url(task), values).status_code == 302
    task.refresh_from_db()
    assert (task.interval, task.description) == (every, "changed")


def test_a_once_that_becomes_a_crontab_fires_again_and_again(admin_client: Client) -> None:
    task = made(admin_client, when="once", at_0="2099-01-02", at_1="03:04:05")
    values = typed(when="cron", cron="0 9 * * *", timezone="UTC", one_off="on")
    assert admin_client.post(change_url(task), values).status_code == 302
    task.refresh_from_db()
    assert (task.clocked, task.one_off, task.crontab.hour) == (None, False, "9")


def test_a_mistake_is_told_beside_its_field_alone(admin_client: Client) -> None:
    wrong = {"when": "cron", "cron": "30 9 * * *", "timezone": "UTC", "expires_0": "yesterday"}
    answer = admin_client.post(ADD, typed(**wrong))
    assert set(errors_of(answer)) == {"expires"}
    made(admin_client, when="cron", cron="30 9 * * *", timezone="UTC")
    again = admin_client.post(ADD, typed(when="cron", cron="30 9 * *", timezone="UTC"))
    assert set(errors_of(again)) == {"name", "cron"}
