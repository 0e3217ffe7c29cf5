"""What recipients want to get is kept, and categories are made, in the admin."""

import pytest
from django.test import Client

from notifications.models import (
    Category,
    Recipient,
    Suppression,
)
from notifications.recipients import unsubscribe_links
from notifications.submission import choose_preferences, send
from tests.integration.notifications.providers.templates import published
from tests.integration.notifications.recipients.preferring import PUBLIC, TO, _outbox, ada

__all__ = ["_outbox", "ada"]

pytestmark = pytest.mark.django_db


def test_choices_and_categories_are_made_in_the_admin(admin_client: Client, ada: Recipient) -> None:
    page = f"/admin/notifications/recipient/{ada.pk}/change/"
    form = {"attributes": "{}", "addresses": "email ada@example.org"}
    refused = admin_client.post(page, {**form, "chosen": "security email no"})
    assert "security cannot be refused" in refused.content.decode()
    assert (
        "must look like: marketing email no"
        in admin_client.post(page, {**form, "chosen": "x"}).content.decode()
    )
    made = admin_client.post(page, {**form, "chosen": "marketing email yes\n* sms no"})
    assert made.status_code == 302
    ada.refresh_from_db()
    assert ada.choices == {"marketing": {"email": True}, "": {"sms": False}}
    assert "(admin admin)" in admin_client.get(page).content.decode()
    admin_client.post(page, {**form, "chosen": "* sms no"})
    ada.refresh_from_db()
    assert ada.choices == {"": {"sms": False}}
    admin_client.post(page, {**form, "chosen": "* * no"})
    ada.refresh_from_db()
    assert ada.choices == {"": {"": False}}
    where = "/admin/notifications/category/add/"
    given = {"project": "default", "name": "security", "channel_defaults": "{}"}
    assert (
        "The category security must be required" in admin_client.post(where, given).content.decode()
    )
    given |= {"name": "report", "default": "on"}
    assert admin_client.post(where, given).status_code == 302
    assert Category.objects.get().default is True


def test_a_save_in_the_admin_leaves_what_was_chosen_since_the_page_was_opened(
    admin_client: Client, client: Client, ada: Recipient
) -> None:
    published("sale", "marketing")
    choose_preferences("customer-17", {"marketing": {"email": True}})
    page = f"/admin/notifications/recipient/{ada.pk}/change/"
    shown = admin_client.get(page).content.decode()
    assert 'name="initial-chosen"' in shown
    form = {"attributes": "{}", "addresses": "email ada@example.org\nsms +4366412345678"}
    form["initial-chosen"] = "marketing email yes"
    row = send(channel="email", template="sale", **TO)
    client.post(unsubscribe_links.url(row.id, row.channel, row.recipient).removeprefix(PUBLIC))
    left = Suppression.objects.filter(lifted_at=None, reason="unsubscribed")
    assert left.exists()
    lines = "marketing email yes\nbilling sms no"
    assert admin_client.post(page, {**form, "chosen": lines}).status_code == 302
    ada.refresh_from_db()
    assert ada.choices == {"marketing": {"email": False}, "billing": {"sms": False}}
    assert left.exists()
    assert send(channel="email", template="sale", **TO).status == "suppressed"
    # What is written anew is what they have told the operator.
    form["initial-chosen"] = "marketing email no\nbilling sms no"
    admin_client.post(page, {**form, "chosen": "marketing * yes\nbilling sms no"})
    ada.refresh_from_db()
    assert ada.choices == {"marketing": {"": True}, "billing": {"sms": False}}
    assert not left.exists()
