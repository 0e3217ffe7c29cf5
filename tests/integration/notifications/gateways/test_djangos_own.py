"""Django's own tests of mail backends: what arrives is what our worker hands to a mail server.

Its sdist carries them (``tests/mail/tests.py``, ``BaseEmailBackendTests``). They run as they stand
but for ``OTHERWISE``. The tests below ask the same without a package index, and more: one row and
one envelope for each recipient.
"""

import unittest
from collections.abc import Callable
from email import message_from_bytes, policy
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection, send_mass_mail
from django.test import SimpleTestCase
from django.utils.translation import gettext_lazy
from pytest_django import Settings

from notifications.models import Notification, ProviderAccount
from notifications.providers import accounts
from tests.sdists import unpacked
from tests.servers.smtp import SmtpServer

FROM = "shop@example.org"
BACKEND = "notifications.email_backend.EmailBackend"
NO_DOMAIN = "writes to 'django', which is no address: refused at once, no server could take it"
OTHERWISE = {"test_recipient_without_domain": NO_DOMAIN, "test_lazy_addresses": NO_DOMAIN}
"""Tests of Django's that ask what a backend that stores mail must not do, with the reason."""


@pytest.fixture(autouse=True)
def _one_changed_line(settings: Settings, account: Any) -> None:
    settings.EMAIL_BACKEND = BACKEND


@pytest.fixture
def theirs(tmp_path: Path) -> Any:
    """Return Django's class of tests that each backend has to pass."""
    path = unpacked("django", tmp_path) / "tests" / "mail" / "tests.py"
    spec = spec_from_file_location("djangos_tests_of_mail", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BaseEmailBackendTests


@pytest.fixture
def ours(
    theirs: Any,
    account: ProviderAccount,
    deliver: Callable[..., Any],
    smtp_server: SmtpServer,
    settings: Settings,
) -> Any:
    """Return the class for our backend, over a worker and a mail server."""
    settings.DEFAULT_FROM_EMAIL = settings.SERVER_EMAIL = "from@example.com"
    account.settings |= {"senders": ["@example.com", "@öäü.com"]}
    account.save()
    accounts.forget()

    class Ours(theirs, SimpleTestCase):  # type: ignore[misc]  # from a file
        databases = "__all__"
        email_backend = BACKEND

        def setUp(self) -> None:
            self.flush_mailbox()

        def flush_mailbox(self) -> None:
            Notification.objects.all().delete()
            smtp_server.messages.clear()

        def get_mailbox_content(self) -> list[Any]:
            deliver(*Notification.objects.filter(status="queued").order_by("id"))
            # Each recipient has a mail of their own; of one message these are alike.
            found = [
                message_from_bytes(mail.octets.rstrip(), policy=policy.default)
                for mail in smtp_server.messages
            ]
            alike = {(mail["To"], mail["Cc"], mail.as_string()[-20:]): mail for mail in found}
            return sorted(alike.values(), key=lambda mail: str(mail["To"]))

    return Ours


def test_they_pass_with_our_backend(theirs: Any, ours: Any) -> None:
    names = {name for name in dir(theirs) if name.startswith("test_")}
    assert names >= OTHERWISE.keys()
    result = unittest.TestResult()
    unittest.TestSuite(ours(name) for name in sorted(names - OTHERWISE.keys())).run(result)
    assert result.testsRun >= 10
    faults = {str(case): said for case, said in (*result.failures, *result.errors)}
    assert faults == {}


@pytest.fixture
def sent(deliver: Callable[..., Any], smtp_server: SmtpServer) -> Callable[..., Any]:
    def sent() -> list[Any]:
        rows = Notification.objects.filter(status="queued").order_by("id")
        assert {recorded.status for recorded in deliver(*rows)} == {"sent"}
        return sorted(smtp_server.messages, key=lambda mail: mail.recipients)

    return sent


def test_send(sent: Callable[..., Any]) -> None:
    email = EmailMessage("Subject", "Content\n", FROM, ["to@example.org"])
    assert get_connection().send_messages([email]) == 1
    [mail] = sent()
    assert mail.message["subject"] == "Subject"
    assert mail.message.get_payload().split() == ["Content"]
    assert mail.message["from"] == FROM
    assert mail.message.get_all("to") == ["to@example.org"]


def test_send_unicode(sent: Callable[..., Any]) -> None:
    email = EmailMessage("Chère maman", "Je t'aime très fort\n", FROM, ["to@example.org"])
    assert get_connection().send_messages([email]) == 1
    [mail] = sent()
    assert mail.message["subject"] == "Chère maman"
    assert mail.message.get_content().strip() == "Je t'aime très fort"


def test_send_long_lines(sent: Callable[..., Any]) -> None:
    email = EmailMessage("Subject", "Comment ça va? " * 100, FROM, ["to@example.org"])
    email.send()
    [mail] = sent()
    assert max(map(len, mail.octets.split(b"\r\n"))) <= 998
    assert mail.message.get_content().strip() == ("Comment ça va? " * 100).strip()


def test_send_many(sent: Callable[..., Any]) -> None:
    first = EmailMessage("Subject", "Content1", FROM, ["to-1@example.org"])
    second = EmailMessage("Subject", "Content2", FROM, ["to-2@example.org"])
    # send_messages() may take a list or an iterator.
    kinds: tuple[Any, ...] = (list, iter)
    for kind in kinds:
        assert get_connection().send_messages(kind((first, second))) == 2
    assert len(sent()) == 4


def test_send_mass_mail() -> None:
    messages = [("S", "B", FROM, [f"u{n}@example.org"]) for n in range(3)]
    assert send_mass_mail(messages) == 3
    assert Notification.objects.count() == 3


def test_send_verbose_name(sent: Callable[..., Any]) -> None:
    name = '"Firstname Sürname" <shop@example.org>'
    EmailMessage("Subject", "Content", name, ["to@example.org"]).send()
    [mail] = sent()
    assert mail.message["from"].addresses[0].display_name == "Firstname Sürname"


def test_plaintext_send_html(sent: Callable[..., Any]) -> None:
    html = EmailMultiAlternatives("S", "Content", FROM, ["to@example.org"])
    html.attach_alternative("<p>Content</p>", "text/html")
    html.send()
    only = EmailMessage("S", "<p>Content</p>", FROM, ["u@example.org"])
    only.content_subtype = "html"
    only.send()
    both, alone = sent()
    assert both.message.get_content_type() == "multipart/alternative"
    assert alone.message.get_content_type() == "text/html"


def test_message_cc_header(sent: Callable[..., Any]) -> None:
    EmailMessage("S", "B", FROM, ["to@example.org"], cc=["cc@example.org"]).send()
    copied, addressed = sent()
    for mail in (copied, addressed):
        assert mail.message["to"] == "to@example.org"
        assert mail.message["cc"] == "cc@example.org"
    assert (copied.recipients, addressed.recipients) == (["cc@example.org"], ["to@example.org"])


def test_idn_send(sent: Callable[..., Any]) -> None:
    EmailMessage("S", "B", FROM, ["to@öäü.com"], cc=["cc@öäü.com"]).send()
    for mail in sent():
        assert mail.message["to"] == "to@xn--4ca9at.com"
        assert mail.message["cc"] == "cc@xn--4ca9at.com"


def test_recipient_without_domain() -> None:
    with pytest.raises(ValueError, match="recipient is not an email address"):
        EmailMessage("S", "B", FROM, ["django"]).send()


def test_lazy_addresses(sent: Callable[..., Any]) -> None:
    sender: Any = gettext_lazy(FROM)
    recipient: Any = gettext_lazy("to@example.org")
    EmailMessage("S", "B", sender, [recipient]).send()
    [mail] = sent()
    assert (mail.sender, mail.recipients) == (FROM, ["to@example.org"])


def test_close_connection() -> None:
    connection = get_connection()
    with connection as opened:
        assert opened is connection
    connection.close()


@pytest.mark.parametrize("at", ["subject", "from_email", "to"])
def test_header_injection(at: str) -> None:
    given: dict[str, Any] = {"subject": "S", "from_email": FROM, "to": ["to@example.org"]}
    wrong = "x\nInjection Test"
    email = EmailMessage(body="B", **{**given, at: [wrong] if at == "to" else wrong})
    with pytest.raises(ValueError, match=r"line break|not an email address"):
        email.send()
    assert Notification.objects.count() == 0
