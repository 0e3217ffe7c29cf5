"""Stored recipients: saved by the caller's id, and written to at their addresses."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pytest_django import Settings

from notifications.core import errors
from notifications.core.routing import SEND_TASK, SEND_TO_EACH_TASK
from notifications.db import dialect
from notifications.models import FailedDelivery, Notification, Project, Recipient, RecipientAddress
from notifications.operations import personal_data, replays
from notifications.recipients import directory, lookup, suppressions
from notifications.submission import delete_recipient, save_recipient, send, send_many
from notifications.tasks import send_to_each
from scheduling import jobs
from tests.integration.notifications.api.conftest import Caller, call, caller

__all__ = ["call", "caller"]

pytestmark = pytest.mark.django_db

ADA: dict[str, Any] = {
    "addresses": {
        "email": ["old@example.org", {"address": "ada@example.org", "verified": True}],
        "push": ["token-of-her-phone", "token-of-her-tablet"],
        "simulator": "ada",
    },
    "locale": "de-AT",
    "timezone": "Europe/Vienna",
    "country": "AT",
    "attributes": {"plan": "gold"},
}
TO: dict[str, Any] = {"to": {"recipient": "customer-17"}}
PUSH: dict[str, Any] = {"channel": "push", "subject": "Hi", "body": "Hello", **TO}


@pytest.fixture(autouse=True)
def _outbox(settings: Settings) -> None:
    settings.OUTBOX = True
    suppressions.forget()


@pytest.fixture
def ada() -> Recipient:
    return save_recipient("customer-17", **ADA)


def test_the_recipient_of_one_send_is_read_by_a_statement_that_is_planned_once() -> None:
    for key in ("ada", "bob", "eve"):
        save_recipient(key, addresses={"simulator": key})
        send(channel="simulator", to={"recipient": key}, body="Hello")
    assert set(Notification.objects.values_list("recipient", flat=True)) == {"ada", "bob", "eve"}
    planned = dialect.all_of("SELECT statement FROM pg_prepared_statements", [])
    assert len([text for (text,) in planned if RecipientAddress._meta.db_table in text]) == 1


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
    assert [one["address"] for one in shown["addresses"]["sms"]] == ["+4366412345678"]
    assert len(shown["addresses"]["push"]) == 2
    call.ok("POST", "/recipients", {"id": "customer-18", "addresses": {"email": "Ada@example.org"}})
    found = call.ok("GET", "/recipients", query={"address": "ada@example.org"})["items"]
    assert [one["id"] for one in found] == ["customer-17"]
    page = call.ok("GET", "/recipients", query={"limit": 1})
    rest = call.ok("GET", "/recipients", query={"limit": 1, "cursor": page["next_cursor"]})
    assert [one["id"] for one in (*page["items"], *rest["items"])] == ["customer-18", "customer-17"]
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
    fields = {one["field"] for one in problem["errors"]}
    assert field in fields
    assert not any("str" in one or "[" in one or "AddressIn" in one for one in fields)
    sent = {"channel": "email", "body": "B", "to": {"recipient": 1.5}}
    assert call("POST", "/notifications", sent).json()["field"] == "to.recipient"


def test_all_that_is_wrong_with_a_recipient_is_told_at_once(call: Caller) -> None:
    given: dict[str, Any] = {"id": "a b", "timezone": "Mars", "country": "ZZ"}
    given["addresses"] = {"fax": "1", "email": ["a@b.example", "nobody", "no one"]}
    answer = call("POST", "/recipients", given).json()
    fields = ["id", "addresses.fax", "addresses.email.1", "addresses.email.2"]
    fields += ["timezone", "country"]
    assert [one["field"] for one in answer["errors"]] == fields
    assert all(one["message"] for one in answer["errors"])
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


def test_a_mail_goes_to_the_verified_address_in_their_language(ada: Recipient) -> None:
    row = send(channel="email", subject="Hi", body="Hello", **TO)
    row.refresh_from_db()
    assert (row.recipient, row.locale, row.recipient_key) == (
        "ada@example.org",
        "de-AT",
        "customer-17",
    )
    assert send(channel="email", subject="Hi", body="B", locale="fr", **TO).locale == "fr"
    other = send(channel="email", subject="Hi", body="B", recipient="work@example.org", **TO)
    assert (other.recipient, other.recipient_key) == ("work@example.org", "customer-17")


def test_on_push_each_device_gets_its_own_and_a_dead_one_none(call: Caller, ada: Recipient) -> None:
    made = call("POST", "/notifications", {**PUSH, "idempotency_key": "k"})
    assert made.status_code == 201
    [copy] = made.json()["copies"]
    again = call("POST", "/notifications", {**PUSH, "idempotency_key": "k"})
    assert (again.status_code, again.json()) == (200, made.json())
    devices = ["token-of-her-phone", "token-of-her-tablet"]
    save_recipient("customer-17", addresses={"push": "token-of-her-new-phone"})
    again = call("POST", "/notifications", {**PUSH, "idempotency_key": "k"})
    assert (again.status_code, again.json()) == (200, made.json())
    save_recipient("customer-17", addresses={"push": devices})
    rows = Notification.objects.all()
    assert {(row.recipient, row.recipient_key) for row in rows} == {
        ("token-of-her-phone", "customer-17"),
        ("token-of-her-tablet", "customer-17"),
    }
    assert call.ok("GET", f"/notifications/{copy}")["to"] == {"recipient": "customer-17"}
    listed = call.ok("GET", "/notifications", query={"to": "customer-17"})["items"]
    assert len(listed) == 2
    suppressions.suppress("push", "token-of-her-phone", "invalid_token")
    assert [
        row["suppressed"] for row in call.ok("GET", "/recipients/customer-17")["addresses"]["push"]
    ] == ["invalid_token", ""]
    assert call.ok("POST", "/notifications", PUSH)["copies"] == []
    assert Notification.objects.order_by("created_at").last().recipient == "token-of-her-tablet"  # type: ignore[union-attr]
    suppressions.suppress("push", "token-of-her-tablet", "invalid_token")
    assert call.ok("POST", "/notifications", PUSH)["status"] == "suppressed"


def test_a_device_that_turns_out_dead_is_dropped_and_the_others_stay(
    ada: Recipient, deliver: Callable[..., Any]
) -> None:
    addresses = {"simulator": ["a?result=invalid", "b"]}
    directory.save({"id": "customer-17", "addresses": addresses})
    first = send(channel="simulator", body="Hello", **TO)
    assert first.recipient == "a?result=invalid"
    deliver(first)
    assert send(channel="simulator", body="Hello", **TO).recipient == "b"


def test_the_same_request_is_the_same_though_addresses_and_language_changed(ada: Recipient) -> None:
    fields: dict[str, Any] = {
        "channel": "email",
        "subject": "S",
        "body": "B",
        "idempotency_key": "k",
    }
    first = send(**fields, **TO)
    save_recipient("customer-17", locale="it", addresses={"email": "new@example.org"})
    assert send(**fields, **TO).id == first.id
    with pytest.raises(errors.IdempotencyConflict):
        send(**fields, locale="fr", **TO)


@pytest.mark.parametrize(
    ("fields", "field", "error"),
    [
        ({"to": {"recipient": "nobody"}}, "to.recipient", errors.UnknownRecipient),
        ({"channel": "sms", **TO}, "to.recipient", errors.UnknownRecipient),
        ({"to": {"recipient": "a b"}}, "to.recipient", errors.InvalidField),
        ({"to": {"person": "x"}}, "to", errors.InvalidField),
        ({"to": "customer-17"}, "to", errors.InvalidField),
        ({"channel": "fax", **TO}, "channel", errors.UnknownChannel),
        ({"project": "nope", **TO}, "project", errors.UnknownProject),
        ({"recipient": "nobody", **TO}, "recipient", errors.MalformedRecipient),
        ({}, "recipient", errors.InvalidField),
    ],
)
def test_whom_nobody_knows_is_refused_by_field(
    ada: Recipient, fields: Any, field: str, error: type[errors.InvalidNotification]
) -> None:
    given = {"channel": "email", "body": "Hello", **fields}
    with pytest.raises(error) as refused:
        send(**given)
    assert refused.value.field == field
    submitted = send_many([given, {"channel": "simulator", "body": "Hello", **TO}])
    assert isinstance(submitted.errors[0], error)
    assert submitted.accepted == 1


def test_a_batch_reads_its_recipients_with_one_query(
    ada: Recipient, monkeypatch: pytest.MonkeyPatch, call: Caller
) -> None:
    directory.save_many({"id": f"c-{n}", "addresses": {"simulator": f"s{n}"}} for n in range(300))
    asked, all_of = [], dialect.all_of
    monkeypatch.setattr(
        dialect,
        "all_of",
        lambda *given: asked.append(given) or all_of(*given),  # type: ignore[func-returns-value]
    )
    found = lookup.find((ada.world, f"c-{n}") for n in range(300))
    assert len(asked) == 1
    assert len(found) == 300
    rows = [{"to": {"recipient": f"c-{n}"}} for n in range(300)]
    made = call.ok(
        "POST",
        "/notifications/batch",
        {"common": {"channel": "simulator", "body": "B"}, "notifications": rows},
    )
    assert (made["accepted"], made["refused"]) == (300, 0)
    csv = b"to,subject,body\nc-1,S,Hi\nnobody,S,Hi\n"
    sent = call._client.post(
        "/api/v1/notifications/batch",
        csv,
        content_type="text/csv",
        headers=call.headers,
        query_params={"channel": "simulator"},
    ).json()
    assert (sent["accepted"], [error["field"] for error in sent["errors"]]) == (1, ["to.recipient"])


def test_a_batch_to_devices_counts_requests_and_sends_to_each(ada: Recipient) -> None:
    submitted = send_many([PUSH, PUSH])
    assert (submitted.accepted, len(submitted.ids)) == (2, 4)


def test_a_schedule_sends_to_a_recipient_at_the_addresses_it_then_has(ada: Recipient) -> None:
    jobs.allow(SEND_TASK, SEND_TO_EACH_TASK)
    fields = {"channel": "simulator", "body": "Hello"}
    with pytest.raises(jobs.InvalidArguments) as refused:
        jobs.register("nightly", SEND_TASK, 60, kwargs={**fields, "to": {"recipient": "nobody"}})
    assert refused.value.field == "kwargs.to.recipient"
    with pytest.raises(jobs.InvalidArguments) as refused:
        jobs.register(
            "each", SEND_TO_EACH_TASK, 60, args=[[TO["to"], {"person": "x"}]], kwargs=fields
        )
    assert refused.value.field == "args.0.1"
    jobs.register("nightly", SEND_TASK, 60, kwargs={**fields, **TO})
    send_to_each.apply(([TO["to"], "bob"],), fields, task_id=str(uuid4())).get()
    assert {row.recipient for row in Notification.objects.all()} == {"ada", "bob"}


def test_a_replay_goes_to_the_same_device(ada: Recipient, deliver: Callable[..., Any]) -> None:
    directory.save(
        {"id": "customer-17", "addresses": {"simulator": ["a?result=permanent&code=550"]}}
    )
    first = send(channel="simulator", body="B", **TO)
    deliver(first)
    again = replays.replay(FailedDelivery.objects.get())
    assert (again.recipient, again.recipient_key) == (first.recipient, "customer-17")


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
    assert [one["id"] for one in kept["schedules"]] == [named.pk]
    assert [one["id"] for one in kept["notifications"]] == [str(row.pk)]
    for _ in range(2):  # also when nothing else is left
        with pytest.raises(CommandError, match="Schedules that still write to the recipient: 1"):
            call_command("forget", "customer-17", "--project", "default", "--no-input")
    row.refresh_from_db()
    assert (row.recipient, row.recipient_key, row.body) == ("forgotten", "", "")
    named.delete()
    capsys.readouterr()
    call_command("forget", "customer-17", "--project", "default", "--no-input")
    assert "Nothing is kept" in capsys.readouterr().out


def test_what_waits_for_a_recipient_that_is_deleted_is_not_sent(
    call: Caller, ada: Recipient, deliver: Callable[..., Any]
) -> None:
    fields: dict[str, Any] = {"channel": "simulator", "body": "B"}
    waits = [send(**fields, category=category, **TO) for category in ("product", "security")]
    plain = send(**fields, recipient="ada")
    assert call("DELETE", "/recipients/customer-17").status_code == 204
    deliver(*waits, plain)
    for row in (*waits, plain):
        row.refresh_from_db()
    assert {(row.status, row.reason, row.attempt_count) for row in waits} == {
        ("suppressed", "recipient_deleted", 0)
    }
    assert plain.status == "sent"
    story = call.ok("GET", f"/notifications/{waits[0].id}")["trace"]
    assert "the stored recipient was deleted" in story[-1]["detail"]


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


def test_a_request_is_repeated_after_its_recipient_was_deleted(
    call: Caller, ada: Recipient
) -> None:
    for channel in ("email", "push"):
        given = {**PUSH, "channel": channel, "idempotency_key": channel}
        first = call("POST", "/notifications", given)
        assert first.status_code == 201
    before = Notification.objects.count()
    delete_recipient("customer-17")
    for channel in ("email", "push"):
        given = {**PUSH, "channel": channel, "idempotency_key": channel}
        assert call("POST", "/notifications", given).status_code == 200
        assert call("POST", "/notifications", {**given, "body": "Other"}).status_code == 409
        assert call("POST", "/notifications", {**given, "idempotency_key": "n"}).status_code == 422
    assert send_many([given]).duplicates == 1
    assert Notification.objects.count() == before


def test_a_page_of_many_recipients_counts_none(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    directory.save_many({"id": f"c-{n}", "addresses": {"simulator": f"s{n}"}} for n in range(60))
    with django_assert_max_num_queries(12):
        assert admin_client.get("/admin/notifications/recipient/").status_code == 200
