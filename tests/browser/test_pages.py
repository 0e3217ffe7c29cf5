"""Every page of the admin: readable, reachable, at each width and in each light."""

import os
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from notifications.models import FailedDelivery, Notification, Status
from notifications.recipients import preference_links
from notifications.submission import save_recipient, send, send_many
from scheduling import jobs
from scheduling.models import Fire
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.scheduling.test_jobs_command import holiday_on
from tests.thorough import THOROUGH

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

DESKTOP, PHONE = 1280, 390
HEIGHT = 900
LANDMARKS = ("landmark-one-main", "bypass")
# Each width and each light once; all four where everything is looked at.
EVERYTHING = THOROUGH or "SCREENSHOTS" in os.environ
VIEWS = {"desktop-light": (DESKTOP, False), "phone-dark": (PHONE, True)}
if EVERYTHING:
    VIEWS |= {"desktop-dark": (DESKTOP, True), "phone-light": (PHONE, False)}


@pytest.fixture
def content(
    system: Any, admin_user: User, wait_until: Callable[..., Any], calendars: Path
) -> dict[Any, Any]:
    """Something of everything: sent, waiting and failed; return the pages to look at."""
    send(channel="email", recipient="ada@example.org", subject="Your receipt", body="Thank you.")
    send(channel="sms", recipient="+436641234567", body="Your code is 4711", priority="high")
    push = {"title": "Parcel", "body": "It is at your door."}
    send(channel="push", recipient="device-token", subject=push["title"], body=push["body"])
    send(channel="simulator", recipient="ada", body="Later", countdown=3600, priority="low")
    for code in ("550", "550", "553"):
        send(channel="simulator", recipient=f"ada?result=permanent&code={code}", body="Hello")
    wait_until(lambda: FailedDelivery.objects.count() == 3)
    wait_until(lambda: Notification.objects.filter(status=Status.SENT).count() == 3)
    batch = send_many([{"recipient": "ada"}], name="april", channel="simulator", body="Hi").batch
    every, _ = IntervalSchedule.objects.get_or_create(every=1, period="seconds")
    task = PeriodicTask.objects.create(
        name="hello",
        task="notifications.send_notification",
        interval=every,
        kwargs='{"channel": "simulator", "recipient": "ada", "body": "Hi"}',
    )
    wait_until(lambda: Fire.objects.filter(schedule=task.pk).count() >= 3)
    # From now on it only costs: a run each second, for as long as the pages are looked at.
    task.interval, _ = IntervalSchedule.objects.get_or_create(every=1, period="hours")
    task.save()
    fire = Fire.objects.latest("scheduled_for")
    template = Template.objects.create(name="receipt", channel="email")
    sources = {"subject": "Receipt", "html": "<p>{{ name }}</p>"}
    version = create_version(template, sources, sample_context={"name": "Ada"})
    publish(version)
    dead = FailedDelivery.objects.latest("id")
    sent = Notification.objects.get(channel="email")
    (calendars / "company.ics").write_text(holiday_on(date.today() + timedelta(days=3)))  # noqa: DTZ011 -- any day
    (calendars / "broken.ics").write_text("no calendar")
    rule = {"cron": "0 9 * * *", "calendar": "company"}
    call = {"channel": "simulator", "recipient": "ada", "body": "Hi"}
    name = {"name": "daily", "handler": "notifications.send_notification"}
    jobs.define({**name, "schedule": rule, "kwargs": call})
    ada = save_recipient("customer-17", addresses={"email": "ada@example.org", "push": "token"})
    lists = "/admin/notifications"
    return {
        "dashboard": "/admin/",
        "notifications": f"{lists}/notification/",
        "notification": f"{lists}/notification/{sent.pk}/change/",
        "causes": f"{lists}/faileddelivery/causes/",
        "replay": f"{lists}/faileddelivery/causes/{dead.fingerprint}/replay/",
        "discard": f"{lists}/faileddelivery/causes/{dead.fingerprint}/discard/",
        "failed-delivery": f"{lists}/faileddelivery/{dead.pk}/change/",
        "outbox": "/outbox/",
        "archive": f"{lists}/archivednotification/",
        "mail": f"/outbox/{sent.pk}/",
        "templates": "/admin/templates_engine/template/",
        "template-add": "/admin/templates_engine/template/add/",
        "schedules": "/admin/django_celery_beat/periodictask/",
        "schedule-add": "/admin/django_celery_beat/periodictask/add/",
        "schedule": f"/admin/django_celery_beat/periodictask/{task.pk}/change/",
        "calendars": "/admin/django_celery_beat/periodictask/calendars/",
        "fires": "/admin/scheduling/fire/",
        "fire": f"/admin/scheduling/fire/{fire.pk}/change/",
        "batches": f"{lists}/batch/",
        "batch": f"{lists}/batch/{batch.pk}/change/",
        "template": f"/admin/templates_engine/template/{template.pk}/change/",
        "version": f"/admin/templates_engine/templateversion/{version.pk}/change/",
        "preview": f"/admin/templates_engine/templateversion/{version.pk}/preview-page/",
        "compare": f"/admin/templates_engine/templateversion/{version.pk}/compare-page/",
        "dashboard-week": "/admin/?span=week",
        "accounts": f"{lists}/provideraccount/",
        "account-kinds": f"{lists}/provideraccount/add/",
        "account-add": f"{lists}/provideraccount/add/?kind=smtp&channel=email",
        "suppressions": f"{lists}/suppression/",
        "keys": f"{lists}/apikey/",
        "results": "/admin/django_celery_results/taskresult/",
        "users": "/admin/auth/user/",
        "user": f"/admin/auth/user/{admin_user.pk}/change/",
        "send": "/send/",
        "find": "/find/?q=ada",
        "holds": f"{lists}/hold/",
        "hold-add": f"{lists}/hold/add/",
        "events": f"{lists}/event/",
        "rules": f"{lists}/eventrule/",
        "rule-add": f"{lists}/eventrule/add/",
        "failed-deliveries": f"{lists}/faileddelivery/",
        "limits": f"{lists}/ratelimit/",
        "weights": f"{lists}/queueweight/",
        "projects": f"{lists}/project/",
        "quarantine": f"{lists}/quarantinedrow/",
        "key-add": f"{lists}/apikey/add/",
        "versions": "/admin/templates_engine/templateversion/",
        "partials": "/admin/templates_engine/partial/",
        "roles": "/admin/auth/group/",
        "audit": "/admin/config/auditentry/",
        "personal-data": "/personal-data/",
        "recipients": f"{lists}/recipient/",
        "recipient-add": f"{lists}/recipient/add/",
        "recipient": f"{lists}/recipient/{ada.pk}/change/",
        "categories": f"{lists}/category/",
        "category-add": f"{lists}/category/add/",
        "chains": f"{lists}/chain/",
        "chain-add": f"{lists}/chain/add/",
        "chain-runs": f"{lists}/chainrun/",
        "throttles": f"{lists}/throttle/",
        "throttle-add": f"{lists}/throttle/add/",
        "windows": f"{lists}/deliverywindow/",
        "audiences": f"{lists}/audience/",
        "audience-add": f"{lists}/audience/add/",
        "window-add": f"{lists}/deliverywindow/add/",
        "preferences": f"/preferences/{preference_links.token(ada.world, ada.key)}",
        "root": "/",
    }


# A rule's own impact is that of all it finds: what it finds minor would be left out afterwards.
READ = """landmarks => {
    const left = axe._audit.rules.filter(
        rule => ["minor", "moderate"].includes(rule.impact) && !landmarks.includes(rule.id));
    const rules = Object.fromEntries(left.map(rule => [rule.id, {enabled: false}]));
    return axe.run(document, {resultTypes: ["violations"], rules});
}"""


def serious(page: Any, axe: str) -> list[Any]:
    """What axe-core finds serious or worse, by rule and place."""
    page.evaluate(axe)
    found = page.evaluate(READ, LANDMARKS)
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary'][:200]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical") or violation["id"] in LANDMARKS
        for node in violation["nodes"][:3]
    ]


# An icon that the font does not have is shown as its name, far wider than an icon.
WORDS_FOR_ICONS = """
    Array.from(document.querySelectorAll(".material-symbols-outlined"))
        .filter(icon => icon.offsetWidth > 1.5 * parseFloat(getComputedStyle(icon).fontSize))
        .map(icon => icon.textContent.trim())
"""


def test_every_page_is_readable_at_each_width_and_in_each_light(
    content: dict[Any, Any], open_page: Callable[..., Any], shoot: Callable[..., None], axe: str
) -> None:
    troubles, pages = [], [*content.items()]
    for number, (view, (width, dark)) in enumerate(VIEWS.items()):
        page = open_page(width=width, dark=dark)
        # axe-core reads each page once, by turns in either view; each must fit a phone's screen.
        for name, where in pages if EVERYTHING else pages[number::2]:
            page.goto(where)
            shoot(page, f"{name}-{view}")
            found = [*serious(page, axe), *page.troubles]
            found += [f"no icon {name}" for name in page.evaluate(WORDS_FOR_ICONS)]
            page.set_viewport_size({"width": PHONE, "height": HEIGHT})
            if page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
                found.append("is wider than a phone's screen")
            page.set_viewport_size({"width": width, "height": HEIGHT})
            troubles += [f"{name} ({view}): {trouble}" for trouble in found]
            page.troubles.clear()
    assert not troubles, "\n".join(troubles)


def renews_itself(page: Any) -> None:
    before = page.inner_text(".ntf-numbers")
    send(channel="simulator", recipient="ada?result=permanent&code=571", body="Hello")
    page.wait_for_function(
        "before => document.querySelector('.ntf-numbers').innerText !== before", arg=before
    )


def test_the_first_page_renews_itself(
    content: dict[Any, Any], open_page: Callable[..., Any]
) -> None:
    page = open_page()
    polled: list[str] = []
    page.on("request", lambda request: polled.append(request.url))
    page.click("text=the last day")
    with page.expect_response("**/dashboard/stream/?span=day") as streamed:
        page.reload()
    assert streamed.value.headers["content-type"] == "text/event-stream"
    renews_itself(page)
    page.wait_for_selector("text=Failed per hour")
    assert not [url for url in polled if "/dashboard/live/" in url]
    # Nothing is replaced under the keyboard's focus.
    page.focus(".ntf-numbers a >> nth=0")
    with page.expect_response("**/dashboard/stream/?span=day"):  # the stream begins anew
        pass
    assert page.evaluate("document.activeElement.closest('.ntf-numbers') !== null")
    assert page.troubles == []

    # Where there is no place for a stream, it polls.
    page.route("**/dashboard/stream/**", lambda route: route.fulfill(status=503, body=""))
    page.reload()
    renews_itself(page)
    assert [url for url in polled if "/dashboard/live/?span=day" in url]


def test_a_keyboard_alone_opens_the_menu_of_a_narrow_screen(
    open_page: Callable[..., Any],
) -> None:
    page = open_page(width=1024)
    assert not page.is_visible("#nav-sidebar a[href='/send/']")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to the content"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.ariaLabel") == "Open the menu":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#nav-sidebar a[href='/send/']")
    page.focus("#nav-sidebar a[href='/send/']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/send/")
    assert page.troubles == []
