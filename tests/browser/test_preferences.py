"""The pages that recipients see, walked as they would: on a phone, by keyboard alone."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from notifications.db import clock
from notifications.models import Notification, OutboxMessage, Suppression
from notifications.submission import choose_preferences, save_recipient, send
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.browser.test_pages import PHONE, serious

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PUBLIC = "https://n.example.org"
TO: dict[str, Any] = {"to": {"recipient": "customer-17"}}
SALE: dict[str, Any] = {"channel": "email", "template": "sale", "priority": "high", **TO}
UNKNOWN_WORDS = ("webhook", "simulator", "Offers", "Security", "Save", "Unsubscribe")


@pytest.fixture
def system(processes: Any) -> Any:
    """Web, worker and scheduler, as the world reaches them."""
    _, address = processes.web(OUTBOX="1", PUBLIC_URL=PUBLIC)
    processes.worker("-c", "1", OUTBOX="1", PUBLIC_URL=PUBLIC)
    processes.beat(OUTBOX="1", PUBLIC_URL=PUBLIC)
    return address


@pytest.fixture
def ada(system: Any, admin_user: User, settings: Settings) -> Any:
    """A recipient who speaks German and has agreed to offers by mail."""
    settings.OUTBOX, settings.PUBLIC_URL = True, PUBLIC
    template = Template.objects.create(name="sale", channel="email", category="marketing")
    body = "{{ unsubscribe_url }} {{ preferences_url }}"
    publish(create_version(template, {"subject": "Sale", "text": body}))
    addresses = {"email": "ada@example.org", "webhook": "https://ada.example.org/"}
    addresses["sms"] = "+4366412345678"
    save_recipient("customer-17", addresses=addresses, locale="de-AT")
    return choose_preferences("customer-17", {"marketing": {"email": True}})


def looked_at(page: Any, axe: str) -> None:
    """The page is in German as a whole, readable, and fits the screen."""
    assert page.evaluate("document.documentElement.lang") == "de"
    assert not serious(page, axe)
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth + 1")
    words = page.inner_text("body")
    assert not [word for word in UNKNOWN_WORDS if word in words]
    assert page.troubles == []


def reach(page: Any, text: str) -> None:
    """Press Tab until what has this text, or is beside it, has the focus."""
    focused = "(document.activeElement.closest('label') || document.activeElement).innerText.trim()"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == text:
            return
    raise AssertionError(f"The keyboard does not reach {text!r}.")


def test_a_recipient_unsubscribes_chooses_and_stops_by_keyboard_on_a_phone(
    ada: Any, open_page: Callable[..., Any], wait_until: Callable[..., Any], axe: str
) -> None:
    row = send(**SALE)
    wait_until(lambda: OutboxMessage.objects.filter(pk=row.pk).exists())
    links = OutboxMessage.objects.get(pk=row.pk).content["text"].split()
    unsubscribe, chooses = (link.removeprefix(PUBLIC) for link in links)
    waits = send(**SALE, countdown=3600)

    # One click in the mail's link, and its confirmation: no more offers by mail.
    page = open_page(width=PHONE, dark=True, logs_in=False)
    page.goto(unsubscribe)
    looked_at(page, axe)
    reach(page, "Abmelden")
    page.keyboard.press("Enter")
    page.get_by_text("Sie sind abgemeldet").wait_for()
    looked_at(page, axe)
    ada.refresh_from_db()
    assert ada.choices == {"marketing": {"email": False}}
    assert send(**SALE).reason == "unsubscribed"
    Notification.objects.filter(pk=waits.pk).update(due_at=clock.now())
    wait_until(lambda: Notification.objects.get(pk=waits.pk).status == "suppressed")
    assert Notification.objects.get(pk=waits.pk).attempt_count == 0

    # From there to the page of preferences: offers by mail again, and by text message.
    assert page.get_attribute("a", "href").removeprefix(PUBLIC) == chooses
    page.goto(chooses)
    looked_at(page, axe)
    offers = page.get_by_role("group", name="Angebote und Neuigkeiten")
    offers.get_by_label("E-Mail").focus()
    page.keyboard.press("Space")
    reach(page, "SMS")
    page.keyboard.press("Space")
    reach(page, "Speichern")
    page.keyboard.press("Enter")
    page.get_by_role("status").wait_for()
    looked_at(page, axe)
    assert offers.get_by_label("SMS").is_checked()
    ada.refresh_from_db()
    assert ada.choices == {"marketing": {"email": True, "sms": True}}
    assert not Suppression.objects.filter(lifted_at=None).exists()
    again, waits = send(**SALE), send(**SALE, countdown=3600)
    wait_until(lambda: Notification.objects.get(pk=again.pk).status == "sent")

    # One button stops all, channels that come later included; codes still arrive.
    reach(page, "Alles abbestellen, was sich abbestellen lässt")
    page.keyboard.press("Enter")
    page.wait_for_function("() => !document.querySelector('input:checked')")
    looked_at(page, axe)
    ada.refresh_from_db()
    assert ada.choices[""] == {"": False}
    save_recipient("customer-17", addresses={"push": "token"})
    later: dict[str, Any] = {"channel": "push", "body": "B", "priority": "high", **TO}
    assert send(**later, category="product").reason == "everything_refused"
    code = send(**later, category="security")
    Notification.objects.filter(pk=waits.pk).update(due_at=clock.now())
    wait_until(lambda: Notification.objects.get(pk=waits.pk).status == "suppressed")
    assert Notification.objects.get(pk=waits.pk).reason == "everything_refused"
    wait_until(lambda: Notification.objects.get(pk=code.pk).status == "sent")
