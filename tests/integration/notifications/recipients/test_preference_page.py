"""The page on which a recipient chooses what to get: its boxes, its languages, its link."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po
from django.test import Client
from django.utils import translation
from pytest_django import Settings

import notifications
from notifications.core import errors
from notifications.models import Category, Consent, OutboxMessage, Recipient
from notifications.recipients import categories, preference_links, unsubscribe_links
from notifications.submission import save_recipient, send
from tests.integration.notifications.api.conftest import Caller, call, caller
from tests.integration.notifications.recipients.preferring import MAIL, PUBLIC, TO, _outbox, ada

__all__ = ["_outbox", "ada", "call", "caller"]

pytestmark = pytest.mark.django_db


def shown_on(client: Client, path: str) -> dict[str, str]:
    """Return the field by which the form says what it showed."""
    found = re.search(r'name="shown" value="([^"]+)"', client.get(path).content.decode())
    assert found
    return {"shown": found[1]}


def test_the_page_shows_saves_and_stops(client: Client, ada: Recipient) -> None:
    path = preference_links.url(ada.world, ada.key).removeprefix(PUBLIC)
    shown = client.get(path)
    assert shown["Referrer-Policy"] == "no-referrer"
    text = shown.content.decode()
    assert "You always get these." in text
    assert set(re.findall(r'name="(\w+:\w+)" value="1" checked', text)) == {
        f"{category}:{channel}"
        for category in ("billing", "product")
        for channel in ("email", "sms", "simulator")
    }
    assert not Consent.objects.exists()
    kept = shown_on(client, path) | {
        "billing:email": "1",
        "billing:sms": "1",
        "billing:simulator": "1",
        "marketing:email": "1",
    }
    saved = client.post(path, kept)
    assert "Your choice is saved." in saved.content.decode()
    ada.refresh_from_db()
    assert ada.choices == {
        "marketing": {"email": True},
        "product": {"email": False, "sms": False, "simulator": False},
    }
    assert Consent.objects.filter(means="page", text__contains="Offers").count() == 4
    client.post(path, {"stop": "1"})
    ada.refresh_from_db()
    assert ada.choices[""] == {"": False}
    assert send(**MAIL, category="marketing").reason == "everything_refused"
    save_recipient("customer-17", addresses={"push": "token"})
    later: dict[str, Any] = {"channel": "push", "body": "B", **TO}
    assert send(**later).reason == "everything_refused"
    client.post(path, shown_on(client, path) | {"marketing:email": "1"})
    assert send(**later).reason == "everything_refused"
    assert send(**MAIL, category="marketing").status == "queued"
    assert send(**MAIL, category="billing").reason == "category_refused_on_channel"
    for forged in (path[:-1], "/preferences/x"):
        assert client.get(forged).status_code == 404
    ada.delete()
    assert client.get(path).status_code == 404


LANGUAGES = ("de", "fr", "es", "it")
LOCALES = Path(notifications.__file__).parent / "locale"


def entries(language: str) -> dict[tuple[str, str], str]:
    """Return a catalogue's texts by context and English text."""
    with (LOCALES / language / "LC_MESSAGES" / "django.po").open("rb") as file:
        return {(str(m.context), str(m.id)): str(m.string) for m in read_po(file) if m.id}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_speaks_one_language_and_says_which(
    client: Client, ada: Recipient, language: str
) -> None:
    texts = entries(language)
    assert all(texts.values())
    assert texts.keys() == entries("de").keys()
    row = send(**MAIL, locale=f"{language}-CH")
    pages = [
        preference_links.url(ada.world, ada.key),
        unsubscribe_links.url(row.id, row.channel, row.recipient),
    ]
    save_recipient("customer-17", locale=f"{language}-CH", addresses={"webhook": "https://a.org/"})
    for path in (url.removeprefix(PUBLIC) for url in pages):
        for answer in (client.get(path), client.post(path, {"stop": "1"})):
            said = html.unescape(answer.content.decode())
            assert f'<html lang="{language}" dir="ltr">' in said
            assert answer["Content-Language"] == language
            english = {text for (_, text), own in texts.items() if own != text} - {"en"}
            assert not [text for text in english if re.search(rf">{re.escape(text)}<", said)]
            assert ">webhook<" not in said
    with translation.override(language):  # what is compiled is what is written
        assert {key: translation.pgettext(*key) for key in texts} == texts


def test_a_page_without_a_catalogue_is_english_and_an_unknown_language_is_the_browsers(
    client: Client, ada: Recipient
) -> None:
    path = preference_links.url(ada.world, ada.key).removeprefix(PUBLIC)
    assert '<html lang="fr"' in client.get(path, headers={"Accept-Language": "fr"}).content.decode()
    forged = client.get("/preferences/x", headers={"Accept-Language": "it"}).content.decode()
    assert "Questo link non funziona" in forged
    for locale in ("pl", "ar", "xx", "de"):
        save_recipient("customer-17", locale=locale)
        said = client.get(path).content.decode()
        assert f'<html lang="{"de" if locale == "de" else "en"}" dir="ltr">' in said
        assert (">Save<" in said) is (locale != "de")


def test_a_template_shows_the_recipients_own_page(
    ada: Recipient, deliver: Callable[..., Any], settings: Settings, call: Caller
) -> None:
    call.ok("POST", "/templates", {"name": "bill", "channel": "email"})
    body = {"parts": {"subject": "Bill", "text": "Choose: {{ preferences_url }}"}}
    call.ok("POST", "/templates/bill/versions", body)
    call.ok("POST", "/templates/bill/versions/1/publish")
    fields: dict[str, Any] = {"channel": "email", "template": "bill"}
    row = send(**fields, **TO)
    deliver(row)
    link = preference_links.url(ada.world, ada.key)
    assert OutboxMessage.objects.get(pk=row.pk).content["text"].strip() == f"Choose: {link}"
    with pytest.raises(errors.InvalidContext, match="stored recipient") as refused:
        send(**fields, recipient="a@example.org")
    assert refused.value.field == "context"
    assert send(
        **fields, recipient="a@example.org", context={"preferences_url": "https://a.org"}
    ).pk
    settings.PUBLIC_URL = ""
    with pytest.raises(errors.InvalidContext, match="PUBLIC_URL"):
        send(**fields, **TO)


def test_the_page_writes_only_boxes_that_were_shown(client: Client, ada: Recipient) -> None:
    path = preference_links.url(ada.world, ada.key).removeprefix(PUBLIC)
    shown = shown_on(client, path)
    save_recipient("customer-17", addresses={"push": "token"})
    categories.save(Category(project="default", name="report", title="Report"))
    other = save_recipient("customer-18", addresses={"email": "eve@example.org"})
    of_another = shown_on(client, preference_links.url(other.world, other.key).removeprefix(PUBLIC))
    for given in ({}, {"save": "1"}, {"shown": "forged"}, of_another):
        assert "Your choice is saved." not in client.post(path, given).content.decode()
    assert not Consent.objects.exists()
    client.post(preference_links.url(other.world, other.key).removeprefix(PUBLIC), {"stop": "1"})
    other.refresh_from_db()
    assert other.choices == {"": {"": False}}
    Consent.objects.all().delete()
    client.post(path, shown | {"save": "1"})
    ada.refresh_from_db()
    of_all = {"email": False, "sms": False, "simulator": False}
    assert ada.choices == {"billing": of_all, "product": of_all}
    texts = set(Consent.objects.values_list("text", flat=True))
    assert ["Report" in text for text in texts] == [False]
    client.post(path, shown_on(client, path) | {"save": "1"})
    ada.refresh_from_db()
    assert ada.choices["report"] == of_all | {"push": False}
