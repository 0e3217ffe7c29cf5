"""Stored recipients: saved by the caller's id, and written to at their addresses."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from notifications.core import errors
from notifications.core.routing import SEND_TASK
from notifications.models import Notification, Project, Recipient, RecipientAddress
from notifications.operations import personal_data
from notifications.recipients import directory
from notifications.submission import delete_recipient, save_recipient, send
from scheduling import jobs
from tests.integration.notifications.api.conftest import Caller, call, caller
from tests.integration.notifications.recipients.stored import ADA, TO, _outbox, ada

__all__ = ["_outbox", "ada", "call", "caller"]

pytestmark = pytest.mark.django_db


def test_a_recipient_is_saved_shown_changed_listed_and_deleted(call: Caller) -> None:
    saved = call("POST", "/recipients", {"id": "customer-17", **ADA})
    assert saved.status_code == 201
    assert saved.json()["addresses"]["email"] == [
        {"address": "old@example.org", "verified": False, "suppressed": ""},
        {"address": "ada@example.org", "verified": True, "suppressed": ""},
    ]
    again = call(
        "POST",
        "/recipients",
        {"id": "customer-17", "locale": "fr", "addresses": {"sms": "+43 664 12345678"}},
    )
    assert again.status_code == 200
    shown = call.ok("GET", "/recipients/customer-17")
    assert shown == again.json()
    assert (shown["locale"], shown["timezone"], shown["attributes"]) == (
        "fr",
        "Europe/Vienna",
        {"plan": "gold"},
    )
    assert [address["address"] for address in shown["addresses"]["sms"]] == ["+4366412345678"]
    assert len(shown["addresses"]["push"]) == 2
    call.ok("POST", "/recipients", {"id": "customer-18", "addresses": {"email": "Ada@example.org"}})
    found = call.ok("GET", "/recipients", query={"address": "ada@example.org"})["items"]
    assert [recipient["id"] for recipient in found] == ["customer-17"]
    page = call.ok("GET", "/recipients", query={"limit": 1})
    rest = call.ok("GET", "/recipients", query={"limit": 1, "cursor": page["next_cursor"]})
    assert [recipient["id"] for recipient in (*page["items"], *rest["items"])] == [
        "customer-18",
        "customer-17",
    ]
    assert call("DELETE", "/recipients/customer-17").status_code == 204
    assert call("GET", "/recipients/customer-17").status_code == 404
    assert RecipientAddress.objects.count() == 1


BAD = [
    ({"id": "a b"}, "id", errors.InvalidField),
    ({"id": "import"}, "id", errors.InvalidField),
    ({"id": "x" * 256}, "id", errors.InvalidField),
    ({"locale": "german!"}, "locale", errors.InvalidField),
    ({"timezone": "Europe/Atlantis"}, "timezone", errors.InvalidField),
    ({"timezone": "localtime"}, "timezone", errors.InvalidField),
    ({"country": "ZZ"}, "country", errors.InvalidField),
    ({"country": "Austria"}, "country", errors.InvalidField),
    ({"country": "AUT"}, "country", errors.InvalidField),
    ({"country": "NYSE"}, "country", errors.InvalidField),
    ({"attributes": {"a": "x" * 20_000}}, "attributes", errors.InvalidField),
    ({"attributes": {"a": "\0"}}, "attributes", errors.InvalidField),
    ({"addresses": {"fax": "1"}}, "addresses.fax", errors.UnknownChannel),
    ({"addresses": {"callback": "https://a.example"}}, "addresses.callback", errors.UnknownChannel),
    (
        {"addresses": {"email": ["a@b.example", "nobody"]}},
        "addresses.email.1",
        errors.MalformedRecipient,
    ),
    ({"addresses": {"sms": "0664"}}, "addresses.sms", errors.MalformedRecipient),
    ({"addresses": {"push": ["t"] * 21}}, "addresses.push", errors.InvalidField),
]


@pytest.mark.parametrize(("changes", "field", "error"), BAD)
def test_what_cannot_be_used_is_refused_by_field(
    call: Caller, changes: dict[str, Any], field: str, error: type[errors.InvalidNotification]
) -> None:
    given = {"id": "customer-17", **changes}
    with pytest.raises(error) as refused:
        directory.save(given)
    assert refused.value.field == field
    answer = call("POST", "/recipients", given)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert not Recipient.objects.exists()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"id": 1.5}, "id"),
        ({"id": "c", "addresses": {"email": 7}}, "addresses.email"),
        ({"id": "c", "addresses": {"email": {"address": 7}}}, "addresses.email.address"),
        ({"id": "c", "addresses": {"email": ["a@example.org", 7]}}, "addresses.email.1"),
    ],
)
def test_a_field_is_named_as_the_caller_knows_it(call: Caller, given: Any, field: str) -> None:
    problem = call("POST", "/recipients", given).json()
    fields = {error["field"] for error in problem["errors"]}
    assert field in fields
    assert not any("str" in field or "[" in field or "AddressIn" in field for field in fields)
    sent = {"channel": "email", "body": "B", "to": {"recipient": 1.5}}
    assert call("POST", "/notifications", sent).json()["field"] == "to.recipient"


def test_all_that_is_wrong_with_a_recipient_is_told_at_once(call: Caller) -> None:
    given: dict[str, Any] = {"id": "a b", "timezone": "Mars", "country": "ZZ"}
    given["addresses"] = {"fax": "1", "email": ["a@b.example", "nobody", "no one"]}
    answer = call("POST", "/recipients", given).json()
    fields = ["id", "addresses.fax", "addresses.email.1", "addresses.email.2"]
    fields += ["timezone", "country"]
    assert [error["field"] for error in answer["errors"]] == fields
    assert all(error["message"] for error in answer["errors"])
    assert answer["field"] == "id"
    assert not Recipient.objects.exists()


def test_an_id_that_is_a_number_is_its_digits(call: Caller) -> None:
    address = {"simulator": "ada"}
    assert call("POST", "/recipients", {"id": 7, "addresses": address}).status_code == 201
    assert call("POST", "/recipients", {"id": "7", "locale": "de"}).status_code == 200
    assert save_recipient(7, timezone="Europe/Vienna").key == "7"  # type: ignore[arg-type]
    assert call.ok("GET", "/recipients/7")["locale"] == "de"
    fields: dict[str, Any] = {"channel": "simulator", "body": "B", "idempotency_key": "k"}
    first = call.ok("POST", "/notifications", {**fields, "to": {"recipient": 7}})
    again = call.ok("POST", "/notifications", {**fields, "to": {"recipient": "7"}})
    assert first["id"] == again["id"]
    assert Notification.objects.get().recipient_key == "7"
    jobs.allow(SEND_TASK)
    kwargs = {"channel": "simulator", "body": "B", "to": {"recipient": 7}}
    jobs.register("nightly", SEND_TASK, 60, kwargs=kwargs)
    assert len(personal_data.export("7", project="default")["schedules"]) == 1
    for wrong in (7.5, True, -7, 10**30):
        answer = call("POST", "/recipients", {"id": wrong})
        assert (answer.status_code, answer.json()["field"].split(".")[0]) == (422, "id")


def test_of_simultaneous_first_saves_one_makes_the_row(transactional_db: None) -> None:
    """Each waits for the others, and changes what the first has made."""

    def save(number: int) -> bool:
        try:
            locale = "de" if number % 2 else "fr"
            addresses = {"email": f"a{number}@example.org", "simulator": "ada"}
            given = {"id": "customer-17", "locale": locale, "addresses": addresses}
            return directory.save(given).created
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(save, range(24)))
    assert made.count(True) == 1
    row = Recipient.objects.get()
    assert row.addresses.count() == 2


def test_projects_and_tests_have_recipients_of_their_own(
    ada: Recipient, caller: Callable[..., Caller]
) -> None:
    Project.objects.create(name="shop")
    live, test, shop = caller(), caller(kind="test"), caller(project="shop")
    for other in (test, shop):
        assert other("GET", "/recipients/customer-17").status_code == 404
        sent = other("POST", "/notifications", {"channel": "simulator", "body": "B", **TO})
        assert (sent.status_code, sent.json()["field"]) == (422, "to.recipient")
        sent = other("POST", "/notifications", {**TO, "channel": "simulator", "to": "customer-17"})
        problem = sent.json()
        assert (problem["field"], problem["detail"]) == ("to", "It must be a JSON object.")
        other.ok("POST", "/recipients", {"id": "customer-17", "addresses": {"simulator": "b"}})
        sent = other.ok("POST", "/notifications", {"channel": "simulator", "body": "B", **TO})
        assert sent["recipient"] == "b"
    assert (
        live.ok("GET", "/recipients/customer-17")["addresses"]["simulator"][0]["address"] == "ada"
    )
    assert Recipient.objects.count() == 3


def test_forget_and_export_reach_everything_of_a_person(
    ada: Recipient, capsys: pytest.CaptureFixture[str]
) -> None:
    send(channel="simulator", body="secret", **TO)
    send(channel="push", body="secret", subject="S", recipient="token-of-her-tablet")
    jobs.allow(SEND_TASK)
    jobs.register("nightly", SEND_TASK, 60, kwargs={"channel": "simulator", "body": "B", **TO})
    call_command("export", "customer-17", "--project", "default")
    kept = json.loads(capsys.readouterr().out)
    assert [
        len(kept[name])
        for name in ("recipients", "recipient_addresses", "notifications", "schedules")
    ] == [1, 5, 2, 1]
    assert personal_data.export("customer-17", project="nope")["notifications"] == []
    assert personal_data.export("ADA@example.org")["recipients"] == kept["recipients"]
    done = personal_data.forget("ada@example.org")
    assert (done["recipients"], done["notifications"], done["schedules"]) == (1, 2, 1)
    assert not Recipient.objects.exists()
    assert not RecipientAddress.objects.exists()
    assert set(Notification.objects.values_list("recipient", "recipient_key", "body")) == {
        ("forgotten", "", "")
    }
    assert PeriodicTask.objects.exists()


def test_an_id_that_only_a_schedule_or_a_notification_names_is_found(
    ada: Recipient, capsys: pytest.CaptureFixture[str]
) -> None:
    row = send(channel="simulator", body="secret", **TO)
    delete_recipient("customer-17")
    compact = json.dumps({"channel": "simulator", **TO}, separators=(",", ":"))
    every = IntervalSchedule.objects.create(every=1, period="days")
    job = {"task": SEND_TASK, "interval": every}
    named = PeriodicTask.objects.create(name="nightly", kwargs=compact, **job)
    other = json.dumps({"channel": "simulator", "project": "shop", **TO})
    PeriodicTask.objects.create(name="of another project", kwargs=other, **job)
    PeriodicTask.objects.create(name="unreadable", args='"customer-17"]', **job)
    kept = personal_data.export("customer-17", project="default")
    assert [schedule["id"] for schedule in kept["schedules"]] == [named.pk]
    assert [notification["id"] for notification in kept["notifications"]] == [str(row.pk)]
    for _ in range(2):  # also when nothing else is left
        with pytest.raises(
            CommandError, match="Schedules that still write to the recipient: nightly"
        ):
            call_command("forget", "customer-17", "--project", "default", "--no-input")
    row.refresh_from_db()
    assert (row.recipient, row.recipient_key, row.body) == ("forgotten", "", "")
    named.delete()
    capsys.readouterr()
    call_command("forget", "customer-17", "--project", "default", "--no-input")
    assert "Nothing is kept" in capsys.readouterr().out


def test_a_recipient_is_saved_in_the_admin_and_refused_beside_its_field(
    admin_client: Client,
) -> None:
    form = {
        "key": "customer-17",
        "project": "default",
        "attributes": "{}",
        "timezone": "Europe/Vienna",
    }
    page = "/admin/notifications/recipient/"
    lines = "email ada@example.org verified\nemail nobody"
    refused = admin_client.post(f"{page}add/", {**form, "addresses": lines})
    assert "email 1: The recipient is not an email address" in refused.content.decode()
    refused = admin_client.post(f"{page}add/", {**form, "timezone": "Mars"})
    assert "There is no time zone" in refused.content.decode()
    made = admin_client.post(
        f"{page}add/", {**form, "addresses": "email ada@example.org verified\npush t-1"}
    )
    assert made.status_code == 302, made.content.decode()
    row = Recipient.objects.get()
    again = admin_client.post(f"{page}add/", {**form, "addresses": "email eve@example.org"})
    assert again.context["adminform"].form.errors.keys() == {"key"}
    assert not RecipientAddress.objects.filter(address="eve@example.org").exists()
    admin_client.post(
        f"{page}{row.pk}/change/", {**form, "addresses": "push t-1\npush t-2", "locale": "de"}
    )
    assert list(RecipientAddress.objects.values_list("channel", "address")) == [
        ("push", "t-1"),
        ("push", "t-2"),
    ]
    row.refresh_from_db()
    assert row.locale == "de"
    assert "customer-17" in admin_client.get(page, {"q": "t-2"}).content.decode()


def test_a_recipient_that_was_deleted_is_unknown(ada: Recipient) -> None:
    delete_recipient("customer-17")
    with pytest.raises(errors.UnknownRecipient):
        send(channel="email", body="B", **TO)
    with pytest.raises(errors.UnknownRecipient):
        delete_recipient("customer-17")


def test_a_page_of_many_recipients_counts_none(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    directory.save_many({"id": f"c-{n}", "addresses": {"simulator": f"s{n}"}} for n in range(60))
    with django_assert_max_num_queries(12):
        assert admin_client.get("/admin/notifications/recipient/").status_code == 200
