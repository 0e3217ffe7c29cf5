"""A mail as somebody reads it: what arrives at a mail server, shown by Chromium."""

import base64
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest

from notifications.delivery import claims, pipeline
from notifications.models import ProviderAccount
from notifications.providers import accounts
from notifications.submission import send
from tests.servers.smtp import SmtpServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
CALENDAR = "text/calendar; method=REQUEST; charset=utf-8"
INVITATION = """BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@shop\r\nSUMMARY:Grüße\r
END:VEVENT\r\nEND:VCALENDAR\r\n""".encode()
HTML = """<h1>Grüße, Ada</h1><p>Your bill <b>4711</b> of 12 €</p>
<p><img src="cid:logo@shop" alt="Logo" width="80" height="20"></p>
<p>{}</p>""".format("A line that is long enough to be folded on its way. " * 40)


@pytest.fixture
def arrived(
    transactional_db: None, smtp_server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmailMessage]:
    """Send a mail with everything, and return it as it arrived."""
    monkeypatch.setenv("SECRET_MAIL_URL", smtp_server.url)
    ProviderAccount.objects.create(
        name="shop",
        channel="email",
        kind="smtp",
        settings={"from": "Shop <shop@example.org>"},
        secrets={"url": "env:SECRET_MAIL_URL"},
    )
    accounts.forget()
    row = send(
        channel="email",
        recipient="Ada <ada@example.org>",
        subject="Grüße",
        body="Your bill",
        html=HTML,
        cc=["Bob <bob@example.org>"],
        attachments=[
            {"filename": "Rechnung März.pdf", "content": b"%PDF-1.7\n" + bytes(range(256))},
            {"filename": "logo.png", "content": PNG, "content_id": "logo@shop"},
            {"filename": "invite.ics", "content": INVITATION, "content_type": CALENDAR},
        ],
    )
    [recorded] = pipeline.deliver(claims.claim([row.id]), worker="test")
    assert recorded.status == "sent"
    yield BytesParser(policy=policy.default).parsebytes(smtp_server.messages[-1].octets)
    accounts.forget()


def test_a_mail_with_everything_is_shown_as_it_was_written(
    arrived: EmailMessage, chromium: Any
) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 800})
    try:
        page.set_content(as_a_mail_program_shows_it(arrived))
        assert page.inner_text("h1") == "Grüße, Ada"
        assert page.inner_text("p >> nth=0") == "Your bill 4711 of 12 €"
        assert page.evaluate("document.querySelector('img').naturalWidth") == 1
        assert page.inner_text("p >> nth=2").count("folded on its way.") == 40
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    finally:
        page.close()
    [bill] = arrived.iter_attachments()
    assert bill.get_filename() == "Rechnung März.pdf"
    # Beside the text and the HTML, where mail programs look for an invitation (RFC 6047).
    [forms] = [part for part in arrived.walk() if part.get_content_subtype() == "alternative"]
    *_, invitation = forms.iter_parts()
    assert (invitation.get_content_type(), invitation.get_param("method")) == (
        "text/calendar",
        "REQUEST",
    )
    assert invitation.get_payload(decode=True) == INVITATION


def as_a_mail_program_shows_it(message: Any) -> Any:
    """Return the HTML, with each inline picture where ``cid:`` names it (RFC 2392)."""
    html = message.get_body(("html",)).get_content()
    for part in message.walk():
        if name := part["Content-ID"]:
            picture = base64.b64encode(part.get_payload(decode=True)).decode()
            address = f"data:{part.get_content_type()};base64,{picture}"
            html = html.replace(f"cid:{name.strip('<>')}", address)
    return html
