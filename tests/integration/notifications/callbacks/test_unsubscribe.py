"""One-click unsubscribe (RFC 8058)."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.core.errors import InvalidContext
from notifications.models import ProviderAccount, Suppression
from notifications.providers import accounts
from notifications.submission import send
from templates_engine.errors import InvalidTemplate
from templates_engine.models import Template, TemplateVersion
from templates_engine.preview import preview
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.providers.templates import published
from tests.servers.smtp import SmtpServer


@pytest.fixture
def mail(
    account: Any,
    deliver: Callable[..., Any],
    settings: Settings,
    smtp_server: SmtpServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """Send a mail of a category over real SMTP, and give it as it arrived."""
    settings.PUBLIC_URL = "https://n.example.org"
    monkeypatch.setenv("SECRET_MAIL", smtp_server.url)
    account(
        "mail-a",
        "smtp",
        "email",
        settings={"from": "shop@example.org"},
        secrets={"url": "env:SECRET_MAIL"},
    )

    def mail(category: Any) -> Any:
        published(category, category)
        deliver(send(channel="email", recipient="ada@example.org", template=category))
        return smtp_server.messages[-1].message

    return mail


def path_of(message: Any) -> Any:
    found = re.fullmatch(r"<https://n\.example\.org(.*)>", message["List-Unsubscribe"])
    assert found is not None
    return found[1]


def test_marketing_mail_carries_the_headers_and_transactional_does_not(
    mail: Callable[..., Any],
) -> None:
    marketing = mail("marketing")
    assert marketing["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert path_of(marketing).startswith("/unsubscribe/")
    assert mail("transactional")["List-Unsubscribe"] is None


def test_mail_says_that_a_program_sent_it_and_marketing_which_list_it_is_of(
    mail: Callable[..., Any],
) -> None:
    marketing, transactional = mail("marketing"), mail("transactional")
    for each in (marketing, transactional):
        assert each.get_all("Auto-Submitted") == ["auto-generated"]
        assert not each.defects
    assert marketing.get_all("List-Id") == ["<marketing.example.org>"]
    assert marketing.get_all("Feedback-ID") == ["marketing:marketing:example.org"]
    assert (transactional["List-Id"], transactional["Feedback-ID"]) == (None, None)


def test_an_account_names_its_lists_and_itself(mail: Callable[..., Any]) -> None:
    settings = {"from": "shop@xn--bcher-kva.example", "list_domain": "lists.example.org"}
    ProviderAccount.objects.update(settings={**settings, "feedback_id": "shop-7"})
    accounts.forget()
    marketing = mail("marketing")
    assert marketing["List-Id"] == "<marketing.lists.example.org>"
    assert marketing["Feedback-ID"] == "marketing:marketing:shop-7"


def test_a_mail_programs_one_click_unsubscribes(mail: Callable[..., Any], client: Client) -> None:
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


def test_following_the_link_only_asks_for_scanners_follow_links_too(
    mail: Callable[..., Any], client: Client
) -> None:
    answer = client.get(path_of(mail("marketing")))
    assert answer.status_code == 200
    assert b'method="post"' in answer.content
    assert not Suppression.objects.exists()


def test_unsubscribing_twice_is_fine(mail: Callable[..., Any], client: Client) -> None:
    path = path_of(mail("marketing"))
    assert [client.post(path).status_code for _ in range(2)] == [200, 200]
    assert Suppression.objects.count() == 1


def test_a_forged_link_unsubscribes_nobody(mail: Callable[..., Any], client: Client) -> None:
    path = path_of(mail("marketing"))
    for forged in (path[:-1], "/unsubscribe/x", path.replace("unsubscribe/", "unsubscribe/a")):
        assert client.post(forged).status_code == 404
    assert not Suppression.objects.exists()


SOURCES = {
    "email": {
        "subject": "Sale",
        "html": '<p>Sale, {{ name }} <a href="{{ unsubscribe_url }}">No more</a></p>',
    },
    "sms": {"text": "Sale, {{ name }}. No more: {{ unsubscribe_url }}"},
}


def sale(channel: str, category: str = "marketing", sources: Any = None) -> TemplateVersion:
    template = Template.objects.create(name=f"sale-{channel}", channel=channel, category=category)
    parts = sources or SOURCES[channel]
    return publish(create_version(template, parts, sample_context={"name": "Ada"}))


def test_the_link_in_a_mails_text_is_that_of_its_header(
    mail: Callable[..., Any], deliver: Callable[..., Any], client: Client, smtp_server: SmtpServer
) -> None:
    sale("email")
    request: dict[str, Any] = {
        "recipient": "ada@example.org",
        "template": "sale-email",
        "context": {"name": "Ada"},
    }
    deliver(send(channel="email", **request))
    arrived = smtp_server.messages[-1].message
    link = arrived["List-Unsubscribe"].strip("<>")
    bodies = [arrived.get_body((kind,)) for kind in ("html", "plain")]
    html, text = (body.get_content() for body in bodies if body is not None)
    assert f'href="{link}"' in html
    assert link in text.replace("\n", "")
    assert client.post(path_of(arrived)).status_code == 200
    assert Suppression.objects.get().recipient == "ada@example.org"


def test_the_link_in_a_text_message_unsubscribes_its_number(
    account: Any,
    deliver: Callable[..., Any],
    client: Client,
    settings: Settings,
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.PUBLIC_URL = "https://n.example.org"
    sale("sms")
    monkeypatch.setenv("SECRET_TWILIO", "1")
    place = {"account_sid": "AC1", "from": "+15005550006", "url": httpserver.url_for("")}
    account("texts", "twilio", "sms", settings=place, secrets={"auth_token": "env:SECRET_TWILIO"})
    httpserver.expect_request("").respond_with_json({"sid": "SM1"}, status=201)
    request: dict[str, Any] = {
        "recipient": "+4366412345678",
        "template": "sale-sms",
        "context": {"name": "Ada"},
    }
    deliver(send(channel="sms", **request))
    body = httpserver.log[-1][0].form["Body"]
    path = body.partition("No more: https://n.example.org")[2]
    assert client.post(path).status_code == 200
    assert send(channel="sms", **request).status == "suppressed"


def test_without_a_public_url_a_template_that_needs_the_link_is_refused_by_name(
    account: Any, settings: Settings
) -> None:
    settings.PUBLIC_URL = ""
    sale("sms")
    account("texts")
    request: dict[str, Any] = {
        "channel": "sms",
        "recipient": "+4366412345678",
        "template": "sale-sms",
    }
    with pytest.raises(InvalidContext, match="unsubscribe_url") as refused:
        send(**request, context={"name": "Ada"})
    assert (refused.value.field, "PUBLIC_URL" in refused.value.hint) == ("context", True)
    own = {"name": "Ada", "unsubscribe_url": "https://shop.example/no-more"}
    assert send(**request, context=own).status == "queued"


def test_what_nobody_can_unsubscribe_from_has_no_link(transactional_db: None) -> None:
    with pytest.raises(InvalidTemplate, match="marketing messages alone") as refused:
        sale("sms", "transactional")
    assert "is defined" in refused.value.hint
    shared = "{{ name }}{% if unsubscribe_url is defined %} {{ unsubscribe_url }}{% endif %}"
    Template.objects.all().delete()
    version = sale("sms", "transactional", {"text": shared})
    assert preview(version).content == {"text": "Ada"}


def test_a_preview_shows_a_sample_of_the_link(transactional_db: None, settings: Settings) -> None:
    version = sale("sms")
    assert str(preview(version).content["text"]).endswith("/unsubscribe/sample")
    draft = create_version(version.template, SOURCES["sms"], sample_context={"name": "Ada"})
    assert preview(draft).content == preview(version).content
