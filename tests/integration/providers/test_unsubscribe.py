"""One-click unsubscribe (RFC 8058)."""

import re

import pytest

from notifications.models import Suppression
from notifications.submission import send
from tests.integration.providers.templates import published


@pytest.fixture
def mail(account, deliver, settings, smtp_server, monkeypatch):
    """Send a mail of a category over real SMTP, and give it as it arrived."""
    settings.PUBLIC_URL = "https://n.example.org"
    monkeypatch.setenv("MAIL", smtp_server.url)
    account(
        "mail-a",
        "smtp",
        "email",
        settings={"from": "shop@example.org"},
        secrets={"url": "env:MAIL"},
    )

    def mail(category):
        published(category, category)
        deliver(send(channel="email", recipient="ada@example.org", template=category))
        return smtp_server.messages[-1].message

    return mail


def path_of(message):
    found = re.fullmatch(r"<https://n\.example\.org(.*)>", message["List-Unsubscribe"])
    assert found is not None
    return found[1]


def test_marketing_mail_carries_the_headers_and_transactional_does_not(mail):
    marketing = mail("marketing")
    assert marketing["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert path_of(marketing).startswith("/unsubscribe/")
    assert mail("transactional")["List-Unsubscribe"] is None


def test_a_mail_programs_one_click_unsubscribes(mail, client):
    path = path_of(mail("marketing"))
    answer = client.post(path, {"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    kept = Suppression.objects.get()
    assert (kept.recipient, kept.reason, kept.scope) == (
        "ada@example.org",
        "unsubscribed",
        "marketing",
    )
    again = send(channel="email", recipient="Ada@example.org", template="marketing")
    assert again.status == "suppressed"


def test_following_the_link_only_asks_for_scanners_follow_links_too(mail, client):
    answer = client.get(path_of(mail("marketing")))
    assert answer.status_code == 200
    assert b'method="post"' in answer.content
    assert not Suppression.objects.exists()


def test_unsubscribing_twice_is_fine(mail, client):
    path = path_of(mail("marketing"))
    assert [client.post(path).status_code for _ in range(2)] == [200, 200]
    assert Suppression.objects.count() == 1


def test_a_forged_link_unsubscribes_nobody(mail, client):
    path = path_of(mail("marketing"))
    for forged in (path[:-1], "/unsubscribe/x", path.replace("unsubscribe/", "unsubscribe/a")):
        assert client.post(forged).status_code == 404
    assert not Suppression.objects.exists()
