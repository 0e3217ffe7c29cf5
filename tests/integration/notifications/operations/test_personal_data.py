"""A recipient's data is handed out whole, and forgotten everywhere; suppressions still hold."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.test import Client
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from django_celery_results.models import TaskResult
from pytest_django import Settings

from notifications.callbacks import outbound
from notifications.core import routing
from notifications.models import (
    ArchivedNotification,
    Audience,
    Batch,
    Chain,
    Event,
    EventEffect,
    EventRule,
    FailedDelivery,
    Hold,
    MailContent,
    Notification,
    OutboxMessage,
    RefusedRow,
    Status,
    Suppression,
)
from notifications.operations import personal_data
from notifications.operations.person import FORGOTTEN
from notifications.recipients import suppressions
from notifications.submission import cancel, save_recipient, send
from scheduling.models import Fire, FireStatus, Schedule
from tests.integration.notifications.operations.ada import ADA, OTHER, WORDS, told


def test_a_person_is_found_by_the_id_also_where_no_address_stands(transactional_db: None) -> None:
    name = {"recipient": "customer-17"}
    save_recipient("customer-17", addresses={"simulator": "ada"})
    row = send(channel="simulator", body="B", to=name)
    event = Event.objects.create(name="a.b", key="k", data={"who": "customer-17", "n": 17})
    EventEffect.objects.create(event=event, rule_name="r", outcome="caused", notification_id=row.id)
    of_others = Event.objects.create(name="a.b", key="j", data={"who": "customer-171"})
    asked = {"field": "attributes.id", "op": "in", "value": ["customer-17", "customer-171"]}
    audience = Audience.objects.create(name="some", filter=asked)
    elsewhere = Audience.objects.create(name="some", project="shop", filter=asked)
    batch = Batch.objects.create(errors=[{"index": 0, "detail": "No recipient 'customer-17'."}])
    RefusedRow.objects.create(batch=batch, place=0, detail="No recipient 'customer-17'.")
    Chain.objects.create(name="a", steps=[{"channel": "simulator", "to": name, "body": "B"}])
    Chain.objects.create(
        name="b", steps=[{"channel": "simulator", "to": {"recipient": "customer-171"}, "body": "B"}]
    )
    EventRule.objects.create(name="r", event="a.b", to='"customer-17"')
    TaskResult.objects.create(task_id="t", task_kwargs=json.dumps(repr({"to": name})))
    task = PeriodicTask.objects.create(
        name="tidy", task="shop.tidy", interval=IntervalSchedule.objects.create(every=9)
    )
    Schedule.objects.get_or_create(pk=task.pk)
    times = dict.fromkeys(("scheduled_for", "fire_at", "finished_at"), row.created_at)
    fire = Fire.objects.create(
        schedule_id=task.pk, status=FireStatus.SUCCEEDED, call={"kwargs": {"to": name}}, **times
    )
    kept = personal_data.export("customer-17", project="default")
    found = (
        *("events", "event_effects", "event_rules", "chains", "audiences", "refused_rows"),
        *("batches", "job_results", "job_runs"),
    )
    assert {name: len(kept[name]) for name in found} == dict.fromkeys(found, 1)
    done = personal_data.forget("customer-17", project="default")
    assert (done["chains"], done["event_rules"]) == (1, 1)
    assert told('customer-17"', "customer-17\\", "customer-17'") == {
        *("notifications_chain", "notifications_eventrule"),
    } | {"notifications_audience"}  # of the other project
    for record in (event, of_others, audience, elsewhere, fire):
        record.refresh_from_db()
    assert event.data == {"who": FORGOTTEN, "n": 17}
    assert of_others.data == {"who": "customer-171"}
    assert audience.filter["value"] == [FORGOTTEN, "customer-171"]
    assert elsewhere.filter == asked
    assert fire.call == {"kwargs": {"to": {"recipient": FORGOTTEN}}}


def test_a_callback_that_waits_still_tells_the_state_and_nothing_of_the_recipient(
    transactional_db: None,
) -> None:
    row = send(
        channel="email",
        recipient=ADA,
        subject="S",
        body="B",
        countdown=600,
        reference="c4711x",
        metadata={"customer": "c4711x"},
        callback_url="https://shop.example/done",
    )
    cancel(row.id)
    outbound.tick()
    callback = Notification.objects.get(channel="callback")
    assert "c4711x" in callback.body
    personal_data.forget(ADA)
    assert told(*WORDS) == set()
    callback.refresh_from_db()
    assert callback.status == Status.QUEUED
    told_of = json.loads(callback.body)["data"]
    assert (told_of["id"], told_of["status"]) == (str(row.id), "cancelled")
    Notification.objects.filter(pk=callback.pk).update(status=Status.SENDING)
    another = send(
        channel="email", recipient=ADA, subject="S", body="B", callback_url="https://shop.example/"
    )
    Notification.objects.filter(pk=another.pk).update(status=Status.SENT, due_at=None)
    Notification.objects.filter(pk=callback.pk).update(
        idempotency_key=routing.callback_key(another.id, Status.SENT)
    )
    assert personal_data.forget(ADA) == {"in_hand": 1}  # found again by the row that it tells of


def test_all_that_is_kept_of_a_recipient_is_handed_out(
    everything: dict[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ArchivedNotification.objects.filter(pk=everything["old"].pk).exists()
    call_command("export", ADA)
    kept = json.loads(capsys.readouterr().out)
    assert {name: len(rows) for name, rows in kept.items()} == {
        "notifications": 3,
        "attempts": 2,
        "failed_deliveries": 2,
        "outbox": 1,
        "copies": 1,
        "mail_contents": 2,
        "archived_notifications": 1,
        "recipients": 0,
        "recipient_addresses": 0,
        "consents": 0,
        "suppressions": 1,
        "pending_receipts": 1,
        "refused_rows": 1,
        "callbacks": 0,
        "chain_runs": 1,
        "throttle_uses": 1,
        "digests": 1,
        "events": 1,
        "event_effects": 1,
        "event_rules": 0,
        "chains": 0,
        "audiences": 1,
        "expansions": 1,
        "job_results": 1,
        "job_runs": 1,
        "schedules": 0,
        "holds": 1,
        "batches": 1,
        "admin_log": 1,
        "audit_log": 0,
    }
    bodies = {row["body"] for row in kept["notifications"]}
    assert "Code c4711x" in bodies
    assert personal_data.export("nobody@example.org")["notifications"] == []


def test_a_forgotten_recipient_is_in_no_table_and_stays_suppressed(
    everything: dict[Any, Any], deliver: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(told(*WORDS)) >= 8
    before = told(*WORDS)
    with pytest.raises(CommandError, match="for good"):
        call_command("forget", ADA)  # where nobody can be asked
    call_command("forget", ADA, dry_run=True)
    shown = capsys.readouterr().out
    assert "Nothing was changed." in shown
    assert told(*WORDS) == before
    call_command("forget", ADA, no_input=True)
    assert told("lovelace") == set()
    assert told("c4711x") == set()
    assert shown.replace("Nothing was changed.\n", "") == capsys.readouterr().out
    assert "cancelled: 1" in shown
    rows = {
        name: Notification.objects.get(pk=row.pk)
        for name, row in everything.items()
        if name != "old"
    }
    assert rows["waits"].status == Status.CANCELLED
    assert rows["sent"].status == Status.SENT
    assert rows["sent"].recipient == FORGOTTEN
    assert rows["copy"].recipient == OTHER
    mail = MailContent.objects.get()
    assert (rows["copy"].mail_id, mail.fields["cc"]) == (mail.pk, ["eve@example.org"])
    assert OutboxMessage.objects.count() == 1  # the one of the copy's recipient
    again = send(channel="email", recipient="ADA.lovelace@example.org", subject="S", body="B")
    assert again.status == Status.SUPPRESSED
    other = send(channel="email", recipient=OTHER, subject="S", body="B")
    assert other.status != Status.SUPPRESSED
    assert FailedDelivery.objects.filter(state="open").count() == 0


def test_a_hash_holds_after_a_new_secret_key_and_is_no_plain_one(
    everything: dict[Any, Any], settings: Settings
) -> None:
    personal_data.forget(ADA)
    kept = Suppression.objects.get()
    assert kept.recipient.startswith(suppressions.HASHED)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 10
    assert suppressions.reason("email", ADA, marketing=False) == "complaint"
    settings.SECRET_KEY_FALLBACKS = []
    assert suppressions.reason("email", ADA, marketing=False) == ""


def test_forgetting_twice_or_once_more_after_a_new_suppression_keeps_one(
    everything: dict[Any, Any],
) -> None:
    personal_data.forget(ADA)
    suppressions.suppress("email", ADA, "operator")
    personal_data.forget(ADA)
    assert Suppression.objects.count() == 1
    assert personal_data.forget(ADA) == {}
    assert personal_data.forget("nobody@example.org") == {}


def test_what_cannot_be_forgotten_yet_is_said(
    everything: dict[Any, Any], accepted: Callable[..., Notification]
) -> None:
    row = send(channel="email", recipient=ADA, subject="S", body="B", countdown=600)
    Notification.objects.filter(pk=row.pk).update(status="sending")
    PeriodicTask.objects.create(
        name="weekly",
        task="notifications.send_notification",
        kwargs=json.dumps({"channel": "email", "recipient": ADA}),
        interval=IntervalSchedule.objects.create(every=9),
    )
    with pytest.raises(
        CommandError, match=r"being sent: 1\..*still write to the recipient: weekly\."
    ):
        call_command("forget", ADA, no_input=True)


def test_the_page_hands_out_and_forgets_for_who_may(
    everything: dict[Any, Any], admin_client: Client, client: Client
) -> None:
    page = "/personal-data/"
    assert client.get(page).status_code == 302
    got = admin_client.post(page, {"recipient": ADA, "export": "1"})
    assert len(json.loads(got.content)["notifications"]) == 3
    answer = admin_client.post(page, {"recipient": ADA, "forget": "1"}, follow=True)
    assert "Forgotten: " in answer.content.decode()
    assert told("lovelace") == set()
    entries = apps.get_model("config", "AuditEntry").objects.filter(act="personal-data")
    assert entries.count() == 3  # two acts, and the look at the page that came after
    assert not any("lovelace" in str(vars(entry)) for entry in entries)


@pytest.mark.parametrize("given", ["", " ", "\u00a0", "@", "a@"])
def test_what_is_no_recipient_is_refused_and_nothing_is_forgotten(
    everything: dict[Any, Any], admin_client: Client, given: str
) -> None:
    """An unset variable of a shell once emptied the texts of everybody."""
    before = told("lovelace")
    with pytest.raises(CommandError, match="This is not a valid recipient"):
        call_command("forget", given, no_input=True)
    with pytest.raises(CommandError, match="This is not a valid recipient"):
        call_command("export", given)
    with pytest.raises(CommandError, match="There is no project 'nope'"):
        call_command("forget", ADA, project="nope", no_input=True)
    answer = admin_client.post("/personal-data/", {"recipient": given, "forget": "1"})
    assert answer.context["form"].errors["recipient"]
    assert told("lovelace") == before


def test_what_is_kept_of_those_with_similar_addresses_and_of_fields_stays(
    transactional_db: None,
) -> None:
    save_recipient("AT", addresses={"email": "ada@example.org"})
    others = "Told bada@example.org, ada@example.org.uk and x+ada@example.org of it."
    Hold.objects.create(scope="channel", value="sms", reason=others)
    Hold.objects.create(scope="channel", value="push", reason="As\nada@example.org. asked")
    Hold.objects.create(scope="channel", value="chat", reason="see welcome-ada@example.org-7")
    country = {"field": "country", "op": "in", "value": ["AT", "DE"]}
    named = {"field": "attributes.friend", "op": "eq", "value": "AT"}
    Audience.objects.create(name="some", filter={"and": [country, named]})
    kept = personal_data.export("AT", project="default")["holds"]
    assert {row["value"] for row in kept} == {"push", "chat"}
    done = personal_data.forget("AT", project="default")
    assert (done["hold"], done["audience"]) == (2, 1)
    assert Hold.objects.get(value="chat").reason == "forgotten"
    assert Hold.objects.get(value="sms").reason == others
    assert Hold.objects.get(value="push").reason == "forgotten"
    emptied = {**named, "value": "forgotten"}
    assert Audience.objects.get().filter == {"and": [country, emptied]}


def test_mails_to_others_no_longer_name_who_was_forgotten_as_their_sender(
    transactional_db: None, deliver: Callable[..., Any], settings: Settings
) -> None:
    settings.OUTBOX = True
    mail: dict[str, Any] = {"channel": "email", "subject": "S", "body": "B", "recipient": OTHER}
    rows = [send(**mail, from_email=sender) for sender in (f"Ada <{ADA}>", "shop@example.org")]
    assert personal_data.forget(ADA)["copies"] == 1
    assert told("lovelace") == set()
    deliver(*rows)
    sent = Notification.objects.filter(pk__in=[row.pk for row in rows]).order_by("id")
    assert [(row.status, row.mail and row.mail.fields.get("from_email")) for row in sent] == [
        ("sent", None),
        ("sent", "shop@example.org"),
    ]
