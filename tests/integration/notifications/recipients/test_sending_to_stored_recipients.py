"""What is sent to a stored recipient goes to the addresses of that moment."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from notifications.core import errors
from notifications.core.routing import SEND_TASK, SEND_TO_EACH_TASK
from notifications.db import dialect
from notifications.models import FailedDelivery, Notification, Recipient, RecipientAddress
from notifications.operations import replays
from notifications.recipients import directory, lookup, suppressions
from notifications.submission import delete_recipient, save_recipient, send, send_many
from notifications.tasks import send_to_each
from scheduling import jobs
from tests.integration.notifications.api.conftest import Caller, call, caller
from tests.integration.notifications.recipients.stored import TO, _outbox, ada

__all__ = ["_outbox", "ada", "call", "caller"]

pytestmark = pytest.mark.django_db
PUSH: dict[str, Any] = {"channel": "push", "subject": "Hi", "body": "Hello", **TO}


def test_the_recipient_of_one_send_is_read_by_a_statement_that_is_planned_once() -> None:
    for key in ("ada", "bob", "eve"):
        save_recipient(key, addresses={"simulator": key})
        send(channel="simulator", to={"recipient": key}, body="Hello")
    assert set(Notification.objects.values_list("recipient", flat=True)) == {"ada", "bob", "eve"}
    planned = dialect.all_of("SELECT statement FROM pg_prepared_statements", [])
    assert (
        len([text for (text,) in planned if f"JOIN {RecipientAddress._meta.db_table}" in text]) == 1
    )


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
