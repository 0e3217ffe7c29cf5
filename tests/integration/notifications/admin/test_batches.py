"""Batches: watched and steered as one."""

from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.base import ContentFile
from django.test import Client
from django.utils.html import strip_tags
from django.utils.timezone import localtime, now

from notifications.audiences import expansion, save_audience
from notifications.models import Audience, Batch, Notification, Status
from notifications.submission import save_recipient, save_recipients
from notifications.submission.bulk import send_many
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish

LIST = "/admin/notifications/batch/"


@pytest.fixture
def batch(transactional_db: None) -> Batch:
    rows = [{"channel": "simulator", "recipient": f"ada{n}", "body": "Hi"} for n in range(3)]
    return send_many([*rows, {"channel": "nowhere"}], name="campaign", countdown=600).batch


def test_a_batch_shows_its_progress_and_its_refused_rows(
    boss: Client, batch: Batch, deliver: Callable[..., Any]
) -> None:
    Notification.objects.filter(batch=batch).update(status=Status.CANCELLED, due_at=None)
    assert "3 of 3" in boss.get(LIST).content.decode()
    page = boss.get(f"{LIST}{batch.pk}/change/").content.decode()
    assert "3 cancelled" in page
    assert "row 4" in page


def test_a_batch_is_paused_resumed_and_cancelled_with_a_line_in_the_log(
    boss: Client, batch: Batch
) -> None:
    for verb, state in (("pause", "paused"), ("resume", "active"), ("cancel", "cancelled")):
        boss.post(LIST, {"action": verb, "_selected_action": [str(batch.pk)]})
        batch.refresh_from_db()
        assert batch.state == state
    assert LogEntry.objects.count() == 3
    assert set(Notification.objects.values_list("status", flat=True)) == {Status.CANCELLED}


def test_who_may_only_look_steers_no_batch(browser_of: Callable[..., Any], batch: Batch) -> None:
    viewer = browser_of("view_batch")
    viewer.post(LIST, {"action": "cancel", "_selected_action": [str(batch.pk)]})
    assert Batch.objects.get(pk=batch.pk).state == "active"


def test_a_campaign_says_when_it_begins_and_never_in_the_past(boss: Client) -> None:
    template = Template.objects.create(name="news", channel="simulator")
    version = publish(create_version(template, {"body": "Hello", "subject": "Hi"}))
    fields = {
        "template": str(version.pk),
        "rows": "recipient\nada\n",
        "priority": "low",
        "key": "once",
    }

    def answer(verb: str, **when: str) -> str:
        return boss.post("/send/", {**fields, **when, verb: ""}).content.decode()

    past = localtime(now() - timedelta(hours=1))
    for verb in ("check", "send"):
        page = answer(verb, when="later", at=f"{past:%Y-%m-%dT%H:%M}")
        assert "This time is in the past." in page
        assert 'id="outlook"' not in page
    assert not Batch.objects.exists()
    # A time that was typed and then not wanted does not matter.
    assert "Sending begins now." in answer("check", when="now", at=f"{past:%Y-%m-%dT%H:%M}")
    assert "Name the time." in answer("check", when="locally")
    later = localtime(now() + timedelta(days=1))
    page = answer("check", when="later", at=f"{later:%Y-%m-%dT%H:%M}")
    assert f"Sending begins at {later:%Y-%m-%d %H:%M}:00 {later:%Z}." in page


def test_each_column_is_named_by_what_the_template_makes_of_it(boss: Client) -> None:
    template = Template.objects.create(name="receipt", channel="simulator")
    body = "{{ name }}{% if note is defined %}: {{ note }}{% endif %}"
    draft = create_version(template, {"body": body}, sample_context={"name": "Ada"})
    fields = {"template": str(publish(draft).pk), "priority": "low", "key": "once", "when": "now"}
    rows = "recipient,name,note,nam\nada,Ada,Hi,Ada\n"
    page = boss.post("/send/", {**fields, "rows": rows, "check": ""}).content.decode()
    said = " ".join(strip_tags(page).split())
    assert "name: variable ·" in said
    assert "note: optional variable of the template ·" in said
    assert "nam: not in the template; check the spelling" in said


def test_a_campaign_is_sent_in_the_morning_of_each_recipient(boss: Client) -> None:
    template = Template.objects.create(name="news", channel="simulator")
    version = publish(create_version(template, {"body": "Hello", "subject": "Hi"}))
    zones = {"ada": "Asia/Tokyo", "bob": "America/New_York"}
    for name, zone in zones.items():
        save_recipient(name, addresses={"simulator": name}, timezone=zone)
    fields = {"template": str(version.pk), "rows": "to\nada\nbob\n", "priority": "low", "key": "k"}
    boss.post("/send/", {**fields, "when": "locally", "morning": "09:00", "send": ""})
    due = dict(Notification.objects.values_list("recipient", "scheduled_at"))
    assert due.keys() == zones.keys()
    for name, zone in zones.items():
        assert f"{due[name].astimezone(ZoneInfo(zone)):%H:%M:%S}" == "09:00:00"
        assert now() < due[name] <= now() + timedelta(days=1, hours=1)


def test_a_workbook_becomes_the_rows_of_the_form(
    boss: Client, browser_of: Callable[..., Any]
) -> None:
    made, out = openpyxl.Workbook(), BytesIO()
    made.active.append(["recipient", "code"])
    made.active.append([436641234567, "0047"])
    made.save(out)

    def answer(client: Client, content: bytes) -> Any:
        return client.post("/send/sheet/", {"file": ContentFile(content, name="rows.xlsx")})

    rows = "recipient,code\n436641234567,0047\n"
    assert answer(boss, out.getvalue()).json() == {"rows": rows, "problem": ""}
    assert "not an Excel workbook" in answer(boss, b"recipient\n").json()["problem"]
    assert "Choose a file" in boss.post("/send/sheet/").json()["problem"]
    assert answer(browser_of("view_batch"), out.getvalue()).status_code == 403


def test_a_campaign_goes_to_an_audience_whose_attributes_fill_the_template(boss: Client) -> None:
    template = Template.objects.create(name="news", channel="simulator")
    version = publish(create_version(template, {"body": "Dear {{ name }}", "subject": "Hi"}))
    save_recipients(
        [
            {"id": f"c-{n}", "addresses": {"simulator": f"c{n}"}, "attributes": {"name": f"Ada{n}"}}
            for n in range(3)
        ]
    )
    save_audience("all", {"everyone": True})
    fields = {"template": str(version.pk), "priority": "low", "when": "now", "key": "once"}
    fields["audience"] = str(Audience.objects.get().pk)
    both = boss.post("/send/", {**fields, "rows": "recipient\nada\n", "check": ""})
    assert "Give recipients or an audience, not both." in both.content.decode()
    neither = boss.post("/send/", {**fields, "audience": "", "check": ""})
    assert "Name the recipients or an audience." in neither.content.decode()
    page = boss.post("/send/", {**fields, "check": ""}).content.decode()
    for said in ("The audience has 3 recipients; 3 of them were looked at.", "Send 3", "Dear Ada"):
        assert said in page
    for _ in range(2):
        answer = boss.post("/send/", {**fields, "send": ""})
        assert answer.status_code == 302
    while expansion.tick() == expansion.BUSY:
        pass
    assert Batch.objects.get().accepted == 3
    assert Notification.objects.get(recipient_key="c-1").context == {"name": "Ada1"}
    shown = boss.get(answer.headers["Location"]).content.decode()
    assert "all: 3 recipients as of" in shown
