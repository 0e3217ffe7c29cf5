"""What users of django-post_office rely on, asked of Django's mail as it arrives here.

Which behaviours: https://github.com/ui/django-post_office/tree/master/tests, test_backends.py,
test_models.py and test_mail.py, without its own settings, signals, forms and process pools.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from pytest_django import Settings

from notifications.core import errors
from notifications.models import Attachment, MailContent, Notification
from tests.servers.smtp import SmtpServer

FROM, ADA = "billing@example.org", "ada@example.org"


@pytest.fixture(autouse=True)
def _one_changed_line(settings: Settings, account: Any) -> None:
    settings.EMAIL_BACKEND = "notifications.email_backend.EmailBackend"
    settings.DEFAULT_FROM_EMAIL = "Shop <news@news.example>"


@pytest.fixture
def arrive(deliver: Callable[..., Any], smtp_server: SmtpServer) -> Callable[..., Any]:
    """Send a message, and return it as it arrived."""

    def arrive(message: Any) -> Any:
        assert message.send() == 1
        assert {recorded.status for recorded in deliver(*Notification.objects.all())} == {"sent"}
        return smtp_server.messages[-1].message

    return arrive


def test_the_projects_default_sender_is_used(arrive: Callable[..., Any]) -> None:
    assert str(arrive(EmailMessage("S", "B", to=[ADA]))["From"]) == "Shop <news@news.example>"


def test_a_reply_to_among_the_headers_wins(arrive: Callable[..., Any]) -> None:
    headers = {"Reply-To": "header@example.org"}
    message = EmailMessage("S", "B", FROM, [ADA], headers=headers, reply_to=["list@example.org"])
    assert arrive(message).get_all("Reply-To") == ["header@example.org"]


def test_names_of_recipients_and_subjects_stay_as_they_were_written(
    arrive: Callable[..., Any],
) -> None:
    got = arrive(EmailMessage("Bücher & Co", "B", FROM, ['"Ada, Countess" <ada@example.org>']))
    assert got["Subject"] == "Bücher & Co"
    [box] = got["To"].addresses
    assert (box.display_name, box.addr_spec) == ("Ada, Countess", ADA)


def test_html_may_stand_alone_or_beside_a_text(arrive: Callable[..., Any]) -> None:
    alone = EmailMessage("S", "<p>Hi</p>", FROM, [ADA])
    alone.content_subtype = "html"
    assert arrive(alone).get_content_type() == "text/html"
    Notification.objects.all().delete()
    both = EmailMultiAlternatives("S", "Hi", FROM, [ADA])
    both.attach_alternative("<p>Hi</p>", "text/html")
    types = [part.get_content_type() for part in arrive(both).iter_parts()]
    assert types == ["text/plain", "text/html"]


def test_attachments_keep_name_and_type_and_are_stored_once_for_all(
    arrive: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "terms.csv"
    path.write_text("a,b\n")
    message = EmailMessage("S", "B", FROM, [ADA, "bob@example.org"])
    message.attach("März.txt", "text")
    message.attach("photo", b"\xff\xd8\xff", "image/jpeg")
    message.attach_file(str(path))
    got = arrive(message)
    assert [
        (attachment.get_filename(), attachment.get_content_type())
        for attachment in got.iter_attachments()
    ] == [
        ("März.txt", "text/plain"),
        ("photo", "image/jpeg"),
        ("terms.csv", "text/csv"),
    ]
    assert Notification.objects.count() == 2
    assert (MailContent.objects.count(), Attachment.objects.count()) == (1, 3)


def test_a_priority_that_is_none_is_refused_and_the_default_is_medium() -> None:
    EmailMessage("S", "B", FROM, [ADA]).send()
    assert Notification.objects.get().priority == "medium"
    with pytest.raises(errors.InvalidNotification):
        EmailMessage("S", "B", FROM, [ADA], headers={"X-Notification-Priority": "now"}).send()
    assert Notification.objects.count() == 1


@pytest.mark.parametrize(
    ("answer", "status"), [("550 5.1.1 No such user", "failed"), ("451 4.3.0 Later", "scheduled")]
)
def test_what_the_server_said_is_kept_and_a_temporary_refusal_is_tried_again(
    deliver: Callable[..., Any],
    smtp_server: SmtpServer,
    age: Callable[..., None],
    answer: str,
    status: str,
) -> None:
    smtp_server.answer(ADA, [answer])
    EmailMessage("S", "B", FROM, [ADA]).send()
    row = Notification.objects.get()
    deliver(row)
    row.refresh_from_db()
    assert row.status == status
    assert answer.partition(" ")[2] in row.attempts.get().detail
    if status == "scheduled":
        age(row)
        assert [recorded.status for recorded in deliver(row)] == ["sent"]
        assert len(smtp_server.messages) == 1


def test_a_mail_waits_for_its_time_and_is_not_sent_after_its_end(
    deliver: Callable[..., Any], smtp_server: SmtpServer, age: Callable[..., None]
) -> None:
    for header in ("Countdown", "Expires"):
        EmailMessage("S", header, FROM, [ADA], headers={f"X-Notification-{header}": "60"}).send()
    later, short = Notification.objects.order_by("id")
    deliver(later)
    assert not smtp_server.messages
    Notification.objects.filter(id=short.id).update(expires_at=short.created_at)
    deliver(short)
    assert not smtp_server.messages
    short.refresh_from_db()
    assert short.status == "expired"
    age(later)
    deliver(later)
    assert len(smtp_server.messages) == 1
