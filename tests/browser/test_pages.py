"""Every page of the operator's seat: readable, reachable, at each width and in each light."""

import os

import pytest

from notifications.models import FailedDelivery, Notification, Status
from notifications.submission import send

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

DESKTOP, PHONE = 1280, 390
# Each width and each light once; with SCREENSHOTS, all four.
VIEWS = {"desktop-light": (DESKTOP, False), "phone-dark": (PHONE, True)}
if "SCREENSHOTS" in os.environ:
    VIEWS |= {"desktop-dark": (DESKTOP, True), "phone-light": (PHONE, False)}


@pytest.fixture
def content(system, admin_user, wait_until):
    """Something of everything: sent, waiting and failed; gives the pages to look at."""
    send(channel="email", recipient="ada@example.org", subject="Your receipt", body="Thank you.")
    send(channel="sms", recipient="+436641234567", body="Your code is 4711", priority="high")
    push = {"title": "Parcel", "body": "It is at your door."}
    send(channel="push", recipient="device-token", subject=push["title"], body=push["body"])
    send(channel="simulator", recipient="ada", body="Later", countdown=3600, priority="low")
    for code in ("550", "550", "553"):
        send(channel="simulator", recipient=f"ada?result=permanent&code={code}", body="Hello")
    wait_until(lambda: FailedDelivery.objects.count() == 3)
    wait_until(lambda: Notification.objects.filter(status=Status.SENT).count() == 3)
    dead = FailedDelivery.objects.latest("id")
    sent = Notification.objects.get(channel="email")
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
        "mail": f"/outbox/{sent.pk}/",
        "templates": "/admin/templates_engine/template/",
        "template-add": "/admin/templates_engine/template/add/",
        "schedules": "/admin/django_celery_beat/periodictask/",
        "schedule-add": "/admin/django_celery_beat/periodictask/add/",
        "accounts": f"{lists}/provideraccount/",
        "users": "/admin/auth/user/",
    }


def serious(page, axe):
    """What axe-core finds serious or worse, by rule and place."""
    page.evaluate(axe)
    # Select2's own boxes are Django's; their faults are not ours to mend.
    found = page.evaluate("axe.run({exclude: ['.select2']}, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary'][:200]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"][:3]
    ]


def test_every_page_is_readable_at_each_width_and_in_each_light(content, open_page, shoot, axe):
    troubles = []
    for view, (width, dark) in VIEWS.items():
        page = open_page(width=width, dark=dark)
        for name, where in content.items():
            page.goto(where)
            page.wait_for_load_state("networkidle")
            shoot(page, f"{name}-{view}")
            found = [*serious(page, axe), *page.troubles]
            if page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
                found.append("is wider than the screen")
            troubles += [f"{name} ({view}): {trouble}" for trouble in found]
            page.troubles.clear()
    assert not troubles, "\n".join(troubles)


def test_the_first_page_renews_itself(content, open_page):
    page = open_page()
    before = page.inner_text(".seat-numbers")
    send(channel="simulator", recipient="ada?result=permanent&code=571", body="Hello")
    page.wait_for_function(
        "before => document.querySelector('.seat-numbers').innerText !== before", arg=before
    )
    assert page.troubles == []
