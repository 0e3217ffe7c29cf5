"""What an author sends to himself, and what an SMS took."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from notifications.models import Notification, Status
from templates_engine import catalog
from templates_engine.models import Template, TemplateVersion
from templates_engine.preview import preview
from templates_engine.preview import test_sender_of as sender_of
from templates_engine.publishing import create_version, publish


@pytest.fixture(autouse=True)
def _nothing_compiled(transactional_db: None) -> None:
    catalog.clear()


def version(channel: str, **parts: Any) -> TemplateVersion:
    template = Template.objects.create(name="code", channel=channel, category="transactional")
    return create_version(template, parts, sample_context={"code": "4711"})


AUTHOR = User(username="author", email="Ada@Example.org")


def test_an_author_can_send_a_draft_to_who_is_on_the_list(
    deliver: Callable[..., Any], settings: Settings
) -> None:
    settings.TEST_RECIPIENTS = ["ad?"]
    draft = version("simulator", subject="Hi", body="Your code is {{ code }}")
    send = sender_of("simulator")
    assert send is not None
    told = send(preview(draft), "ada", AUTHOR)
    row = Notification.objects.get()
    assert str(row.id) in told
    assert row.template_version_id == draft.pk
    deliver(row)
    row.refresh_from_db()
    assert row.status == Status.SENT


def test_an_author_is_told_why_nothing_was_sent() -> None:
    send = sender_of("sms")
    assert send is not None
    told = send(preview(version("sms", text="Your code is {{ code }}")), "nobody", AUTHOR)
    assert "phone number" in told
    assert not Notification.objects.exists()


@pytest.mark.parametrize(("code", "segments"), [("4711", 1), ("4711 €" * 40, 2), ("ж" * 80, 2)])
def test_an_sms_keeps_how_many_segments_it_took(
    accepted: Callable[..., Notification],
    deliver: Callable[..., Any],
    settings: Settings,
    code: str,
    segments: int,
) -> None:
    settings.OUTBOX = True
    publish(version("sms", text="Code {{ code }}"))
    row = accepted(
        channel="sms", recipient="+4366412345678", body="", template="code", context={"code": code}
    )
    deliver(row)
    row.refresh_from_db()
    assert (row.status, row.segments) == (Status.SENT, segments)


@pytest.mark.parametrize(
    ("recipient", "listed", "goes"),
    [
        ("ada@example.org", [], True),
        ("ADA@EXAMPLE.ORG", [], True),
        ("eve@example.org", [], False),
        ("eve@example.org", ["*@example.org"], True),
        ("eve@example.org.evil.example", ["*@example.org"], False),
        ("eve@other.example", ["eve@example.org"], False),
    ],
)
def test_a_test_goes_to_its_author_or_to_who_is_on_the_list(
    settings: Settings, recipient: str, listed: list[Any], goes: bool
) -> None:
    settings.TEST_RECIPIENTS, settings.OUTBOX = listed, True
    send = sender_of("email")
    assert send is not None
    draft = version("email", subject="Hi", html="<p>{{ code }}</p>", text="{{ code }}")
    told = send(preview(draft), recipient, AUTHOR)
    assert Notification.objects.exists() is goes
    assert ("TEST_RECIPIENTS" in told) is not goes


def test_who_has_no_address_sends_no_test(settings: Settings) -> None:
    settings.OUTBOX = True
    send = sender_of("email")
    assert send is not None
    draft = version("email", subject="Hi", html="<p>{{ code }}</p>", text="{{ code }}")
    for email in ("", "*", "[a-z]*@example.org"):
        send(preview(draft), "ada@example.org", User(username="author", email=email))
    assert not Notification.objects.exists()
