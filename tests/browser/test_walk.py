"""The walk of somebody who has never seen the system: by looking alone, from login to replay."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from notifications.models import FailedDelivery, Notification, Status
from notifications.submission import send
from scheduling.models import Fire

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def make_a_template(page: Any, shoot: Callable[..., None]) -> None:
    page.click("text=Templates >> nth=0")
    page.click("a[href$='/template/add/'] >> visible=true >> nth=0")
    page.fill("[name=name]", "parcel")
    page.select_option("[name=channel]", "email")
    page.click("button[name=_save]")
    page.wait_for_selector("text=Sample context")
    shoot(page, "walk-template-draft")


def preview_and_publish(page: Any, shoot: Callable[..., None]) -> None:
    page.click("a:has-text('Preview') >> visible=true >> nth=0")
    page.wait_for_selector("iframe")
    frame = page.frame_locator("iframe >> nth=0")
    frame.locator("text=Hello Ada").wait_for()
    page.fill("[name=context]", '{"name": "Grace"}')
    frame.locator("text=Hello Grace").wait_for()
    page.fill("[name=context]", '{"nobody": 1}')
    page.wait_for_selector("text=It does not render.")
    shoot(page, "walk-preview")
    page.go_back()
    page.click("text=Publish >> visible=true >> nth=0")
    page.click("#dialog button[type=submit]")
    page.wait_for_selector("text=published")


def schedule_it(page: Any, shoot: Callable[..., None]) -> None:
    page.goto("/admin/")
    page.click("a:has-text('Schedules') >> visible=true >> nth=0")
    page.click("a[href$='/periodictask/add/'] >> visible=true >> nth=0")
    page.fill("[name=name]", "tell about the parcel")
    page.fill("[name=recipients]", "ada@example.org")
    page.click("#select2-id_template-container")
    page.fill(".select2-search__field", "parc")
    page.click(".select2-results__option:has-text('parcel')")
    page.wait_for_selector("text=It needs: name.")
    assert json.loads(page.input_value("[name=context]")) == {"name": "Ada"}
    page.fill("[name=cron]", "30 9 * * mon-fri")
    page.fill("[name=timezone]", "Asia/Kolkata")
    page.wait_for_selector("#outlook >> text=At 09:30 AM")
    page.wait_for_function(
        "() => [...document.querySelectorAll('#outlook li')]"
        ".filter(line => line.innerText.includes('09:30:00 IST')).length === 5"
    )
    page.fill("[name=cron]", "0 0 31 2 *")
    page.wait_for_selector("#outlook >> text=never occurs")
    shoot(page, "walk-schedule-problem")
    page.select_option("[name=when]", "every")
    page.fill("[name=every]", "1")
    page.select_option("[name=period]", "seconds")
    page.wait_for_selector("#outlook >> text=Every second")
    shoot(page, "walk-schedule")
    page.click("button[name=_save]")
    page.wait_for_selector("text=was added successfully")


def pause_it(page: Any, shoot: Callable[..., None]) -> None:
    page.goto("/admin/django_celery_beat/periodictask/")
    page.click("a:has-text('tell about the parcel')")
    page.wait_for_selector("text=All fires")
    shoot(page, "walk-fires-so-far")
    page.click('text="Pause" >> visible=true >> nth=0')
    page.click("#dialog button[type=submit]")
    page.wait_for_selector("text=Paused.")


def replay_the_failure(page: Any, shoot: Callable[..., None]) -> None:
    page.click("a:has-text('Failed deliveries') >> visible=true >> nth=0")
    page.click("text=Replay…")
    page.click("button:has-text('Dry run')")
    page.wait_for_selector("text=1 would be looked at")
    shoot(page, "walk-dry-run")
    page.click("button[name=go]")
    page.wait_for_selector("text=1 of 1")
    shoot(page, "walk-replayed")


def test_from_login_to_replay(
    open_page: Callable[..., Any], shoot: Callable[..., None], wait_until: Callable[..., Any]
) -> None:
    page = open_page()
    make_a_template(page, shoot)
    preview_and_publish(page, shoot)
    schedule_it(page, shoot)

    wait_until(lambda: Notification.objects.filter(status=Status.SENT).count() >= 2)
    page.click("a:has-text('Outbox') >> visible=true >> nth=0")
    page.click("text=ada@example.org >> nth=0")
    page.frame_locator("iframe").locator("text=Hello Ada").wait_for()
    shoot(page, "walk-delivered")

    pause_it(page, shoot)
    wait_until(lambda: not Fire.objects.filter(finished_at__isnull=True).exists())
    fired = Fire.objects.count()

    send(channel="simulator", recipient="ada?result=permanent&code=550", body="Hello")
    wait_until(FailedDelivery.objects.exists)
    replay_the_failure(page, shoot)
    wait_until(lambda: FailedDelivery.objects.filter(state="replayed").exists())
    assert Notification.objects.filter(replay_of__isnull=False).count() == 1
    assert Fire.objects.count() == fired
    assert page.troubles == []
