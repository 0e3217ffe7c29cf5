"""What operators do, each from its first click to its end: send, find out why, mend."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.contrib.auth.models import User

from notifications.models import (
    Batch,
    FailedDelivery,
    Hold,
    Notification,
    OutboxMessage,
    ProviderAccount,
    Status,
)
from notifications.operations import api_keys
from notifications.providers import accounts, health
from notifications.submission import send
from scheduling import jobs
from templates_engine.models import Template, TemplateVersion
from templates_engine.publishing import create_version, draft_from, publish
from tests.integration.scheduling.test_jobs_command import holiday_on

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

Shoot = Callable[[Any, str], None]

TRIED = "+436641234567"
ROWS = """recipient,code,reference
+436641234567,4711,first
nobody,4712,second
+436641234568,4713,third
"""


@pytest.fixture
def template(transactional_db: None) -> Template:
    template: Template = Template.objects.create(name="code", channel="sms")
    publish(
        create_version(template, {"text": "Your code is {{ code }}"}, sample_context={"code": "1"})
    )
    return template


def drop(page: Any, octets: bytes, name: str = "rows.csv") -> None:
    page.set_input_files("#file", [{"name": name, "mimeType": "", "buffer": octets}])


def workbook() -> bytes:
    made, out = openpyxl.Workbook(), BytesIO()
    for row in (["recipient", "code"], ["+436641234567", "0047"]):
        made.active.append(row)
    made.save(out)
    return out.getvalue()


def first_steps(page: Any, shoot: Shoot) -> None:
    """The first page leads on, step by step, in the viewer's zone."""
    page.wait_for_selector("text=IST, renewed")
    page.wait_for_selector("text=Nothing was sent yet. Four steps:")
    assert page.inner_text(".ntf-steps li >> nth=0") == "Done: Write a template what is sent"
    assert page.inner_text(".ntf-steps li >> nth=3").startswith("Make an API key")
    shoot(page, "flow-first-steps")
    page.click(".ntf-steps a:has-text('Make an API key')")
    page.fill("[name=name]", "shop")
    page.check("[name=scopes] >> nth=0")
    page.click("button[name=_save]")
    page.click("button[data-copies]")
    page.wait_for_selector("button:has-text('Copied')")
    key = page.evaluate("navigator.clipboard.readText()")
    assert key == page.inner_text("#key-1")
    assert (found := api_keys.find(key))
    assert found.name == "shop"
    page.goto("/admin/")
    page.wait_for_selector(".ntf-steps li:has-text('Done: Make an API key')")
    page.click(".ntf-steps a:has-text('Send a first notification')")
    page.wait_for_url("**/send/")


def check(page: Any, shoot: Shoot) -> None:
    """Drop a CSV, and read what would become of it."""
    page.goto("/admin/")
    page.click("#nav-sidebar a:has-text('Send')")
    page.wait_for_selector("text=Columns: recipient, code")
    rows = "document.querySelector('[name=rows]')"
    drop(page, "recipient,code\n+436641234567,Zoë\n".encode("cp1252"))
    page.wait_for_function(f"{rows}.validationMessage.includes('CSV UTF-8')")
    for codec in ("utf-16", "utf-8-sig"):
        drop(page, f"recipient,code\n+436641234567,Zoë by {codec}\n".encode(codec))
        page.wait_for_function(f"{rows}.value.includes('Zoë by {codec}')")
        assert page.evaluate(f"{rows}.validationMessage") == ""
    drop(page, b"PK\x03\x04 but no workbook")
    page.wait_for_function(f"{rows}.validationMessage.includes('cannot be read')")
    drop(page, workbook(), "rows.xlsx")
    page.wait_for_function(f"{rows}.value.includes('+436641234567,0047')")
    assert page.evaluate(f"{rows}.validationMessage") == ""
    drop(page, ROWS.encode())
    page.wait_for_function("document.querySelector('[name=rows]').value.includes('4713')")
    page.fill("[name=name]", "codes")
    page.click("button[name=check]")
    page.wait_for_selector("#outlook")
    assert page.inner_text(".outlook-accepted") == "2"
    assert page.inner_text(".outlook-refused") == "1"
    assert page.inner_text(".outlook-segments") == "2"
    assert page.inner_text("#outlook tbody th") == "2"
    assert "Your code is 4711" in page.inner_text("#send")
    assert not Notification.objects.filter(reference="first").exists()
    page.evaluate("document.querySelector('#outlook').scrollIntoView()")
    shoot(page, "flow-send-outlook")


def send_it(page: Any, shoot: Shoot) -> None:
    page.click("button[name=send]")
    page.wait_for_selector("text=Accepted 2, refused 1.")
    page.wait_for_selector("#batch-progress:has-text('2 of 2 are through: it has ended')")
    shoot(page, "flow-send-through")


def send_later_and_call_off(page: Any, shoot: Shoot) -> None:
    """A batch for tomorrow is paused, resumed and cancelled."""
    page.goto("/send/")
    page.fill("[name=rows]", "recipient,code\n+436641234569,1\n")
    page.fill("[name=name]", "tomorrow")
    page.select_option("[name=when]", "later")
    page.click("button[name=check]")
    page.wait_for_selector("text=Say when.")
    page.fill("[name=at]", f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M}")
    page.click("button[name=check]")
    page.click("button[name=send]")
    page.wait_for_selector("text=0 of 1 are through")
    for verb, said in (("Pause", "Paused."), ("Resume", "Resumed."), ("Cancel the rest", "Canc")):
        page.click(f'text="{verb}" >> visible=true >> nth=0')
        page.click("#dialog button[type=submit]")
        page.wait_for_selector(f"text={said}")
    page.wait_for_selector("text=1 of 1 are through: it has ended")
    shoot(page, "flow-send-cancelled")


def find_out_why(page: Any, shoot: Shoot) -> None:
    """One box leads from what somebody has in hand to the story."""
    page.goto("/find/")
    page.fill("#find", "third")
    page.click(".ntf-find button")
    page.wait_for_selector("text=What happened")
    story = page.inner_text(".ntf-timeline")
    assert "with the batch" in story
    assert "Attempt 1: accepted by the provider" in story
    shoot(page, "flow-story")
    page.goto("/find/?q=66412345")  # a part of the recipients
    page.wait_for_selector("text=+436641234568")
    shoot(page, "flow-found")


def mend(page: Any, shoot: Shoot, wait_until: Callable[..., Any]) -> None:
    """A cause is looked into by a dry run, then discarded with a note."""
    send(channel="simulator", recipient="ada?result=permanent&code=550", body="Hello")
    wait_until(FailedDelivery.objects.exists)
    page.goto("/admin/")
    page.wait_for_selector("text=/1 failed delivery is open. Since .* IST/")
    shoot(page, "flow-watch")
    page.click(".ntf-numbers a[href$='/causes/']")
    page.click("text=Replay…")
    page.click("button:has-text('Dry run')")
    page.wait_for_selector("text=Of these, 1 would be accepted again.")
    page.wait_for_selector("text=Its accounts are ready.")
    shoot(page, "flow-mend-dry-run")
    page.go_back()
    page.go_back()
    page.click("text=Discard…")
    page.fill("[name=reason]", "the address was a typo")
    page.click("button:has-text('Discard 1')")
    page.wait_for_selector("text=Discarded 1.")
    assert FailedDelivery.objects.latest("id").resolution == "the address was a typo"


def probe_and_hold(page: Any, shoot: Shoot, account: ProviderAccount) -> None:
    """An account that rests is probed now; it is held, and released."""
    page.goto(f"/admin/notifications/provideraccount/{account.pk}/change/")
    for verb, said in (
        ("Probe now", "The next message that waits for it probes it."),
        ("Hold", "Held: nothing more is sent by it"),
        ("Release", "Released."),
    ):
        page.click(f'text="{verb}" >> visible=true >> nth=0')
        if verb == "Hold":
            page.fill("#dialog [name=reason]", "its provider asked us to")
        page.click("#dialog button[type=submit]")
        page.wait_for_selector(f"text={said}")
        if verb == "Hold":
            assert Hold.objects.get(scope="account").value == account.name
    shoot(page, "flow-account")


def plan_by_a_new_calendar(page: Any, shoot: Shoot, folder: Path) -> None:
    """A new calendar is compared with the one in place before it takes it."""
    first = (datetime.now(UTC) + timedelta(days=3)).date()
    (folder / "company.ics").write_text(holiday_on(first))
    rule = {"cron": "0 9 * * *", "calendar": "company", "timezone": "Asia/Kolkata"}
    call = {"channel": "simulator", "recipient": "ada", "body": "Hi"}
    jobs.define(
        {
            "name": "daily report",
            "handler": "notifications.send_notification",
            "schedule": rule,
            "kwargs": call,
        }
    )
    page.goto("/admin/")
    page.click("#nav-sidebar a:has-text('Calendars')")
    page.wait_for_selector("text=Stocktaking")
    new = holiday_on(first + timedelta(days=1)).encode()
    file = {"name": "new.ics", "mimeType": "text/calendar", "buffer": new}
    page.set_input_files("[name=file]", [file])
    page.click("#compare button[type=submit]")
    page.wait_for_selector(f"#moves tr:has-text('{first:%a %d %b %Y}, 09:00:00 IST')")
    assert page.locator("#moves tbody tr").count() == 2
    page.evaluate("document.querySelector('#compare').scrollIntoView()")
    shoot(page, "flow-plan-calendars")
    page.click("a:has-text('daily report')")
    page.wait_for_url("**/periodictask/*/change/")


def test_send_find_out_why_and_mend(
    open_page: Callable[..., Any],
    template: Template,
    shoot: Shoot,
    wait_until: Callable[..., Any],
    calendars: Path,
) -> None:
    account = ProviderAccount.objects.create(name="chat-a", channel="chat", kind="slack")
    accounts.forget()
    health.report(account.name, health.Tally(bad=20, trailing=20, error="away"))
    page = open_page(zone="Asia/Kolkata")
    first_steps(page, shoot)
    check(page, shoot)
    send_it(page, shoot)
    send_later_and_call_off(page, shoot)
    find_out_why(page, shoot)
    mend(page, shoot, wait_until)
    probe_and_hold(page, shoot, account)
    plan_by_a_new_calendar(page, shoot, calendars)
    statuses = Notification.objects.filter(batch__name="codes").values_list("status", flat=True)
    assert {*statuses} == {Status.SENT}
    assert Batch.objects.get(name="codes").refused == 1
    assert page.troubles == []


def write_and_ask(page: Any, shoot: Shoot, version: TemplateVersion) -> None:
    """An author changes a draft, compares it, sends herself a test, and asks a colleague."""
    where = f"/admin/templates_engine/templateversion/{version.pk}"
    page.goto(f"{where}/change/")
    page.fill("[name^=source-][name$=-text]", "Your new code is {{ code }}")
    page.click("button[name=_continue]")
    page.wait_for_selector("text=was changed successfully")
    page.click('text="Compare" >> visible=true >> nth=0')
    page.wait_for_selector("text=+Your new code is {{ code }}")
    assert "-Your code is {{ code }}" in page.inner_text("main")
    shoot(page, "flow-write-compare")
    page.go_back()
    page.click("a:has-text('Preview') >> visible=true >> nth=0")
    page.wait_for_selector(".tp-bubble:has-text('Your new code is 1')")
    page.fill("[name=context]", '{"code": "4711"}')
    page.wait_for_selector(".tp-bubble:has-text('Your new code is 4711')")
    page.fill("[name=recipient]", TRIED)
    page.click("button[name=send_test]")
    page.wait_for_selector(f"text=On its way to {TRIED}")
    page.goto(f"{where}/change/")
    for verb, said in (
        ("Publish", "check and publish it"),
        ("Ask a colleague", "on the dashboard"),
    ):
        page.click(f'text="{verb}" >> visible=true >> nth=0')
        page.click("#dialog button[type=submit]")
        page.wait_for_selector(f"text={said}")
    shoot(page, "flow-write-asked")


def look_and_publish(page: Any, shoot: Shoot) -> None:
    """A colleague finds it on the dashboard, compares it and publishes it."""
    page.wait_for_selector("text=for a colleague to publish it")
    page.click("a[href$='?asked=yes']")
    page.click("main a:has-text('code v2') >> visible=true >> nth=0")
    page.click('text="Publish" >> visible=true >> nth=0')
    page.click("#dialog button[type=submit]")
    page.wait_for_selector("text=is live.")
    shoot(page, "flow-write-published")


@pytest.mark.parametrize(
    "system", [{"TEMPLATES_TWO_PERSON_RULE": "1", "TEST_RECIPIENTS": TRIED}], indirect=True
)
def test_two_people_write_compare_try_and_publish(
    open_page: Callable[..., Any],
    template: Template,
    admin_user: User,
    shoot: Shoot,
    wait_until: Callable[..., Any],
) -> None:
    author = User.objects.create_superuser("author", password="correct horse")
    draft = draft_from(template, by=author)
    assert draft is not None
    page = open_page(user="author")
    write_and_ask(page, shoot, draft)
    captured = OutboxMessage.objects.filter(recipient=TRIED)
    wait_until(captured.exists)
    assert captured.get().content["text"] == "Your new code is 4711"
    draft.refresh_from_db()
    assert (draft.status, draft.asked_by) == ("draft", author)
    colleague = open_page()
    look_and_publish(colleague, shoot)
    draft.refresh_from_db()
    assert (draft.status, draft.published_by) == ("published", admin_user)
    assert page.troubles == colleague.troubles == []
