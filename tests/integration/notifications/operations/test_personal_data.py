"""A recipient's data is handed out whole, and forgotten everywhere; suppressions still hold."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from django_celery_results.models import TaskResult
from pytest_django import Settings

from notifications.maintenance import retention
from notifications.models import (
    ArchivedNotification,
    Attempt,
    Batch,
    Event,
    FailedDelivery,
    MailContent,
    Notification,
    OutboxMessage,
    PendingReceipt,
    RefusedRow,
    Status,
    Suppression,
)
from notifications.operations import personal_data
from notifications.recipients import suppressions
from notifications.submission import send

ADA = "ada.lovelace@example.org"
WORDS = ("lovelace", "c4711x")
OTHER = "grace@example.org"


def dump() -> list[tuple[str, Any]]:
    """Read every text of every table."""
    with connection.cursor() as cursor:
        rows = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT row_to_json(one)::text FROM "{table}" AS one')
            rows += [(table, row) for (row,) in cursor.fetchall()]
    return rows


def told(*words: Any) -> set[Any]:
    return {table for table, row in dump() if any(word in row.lower() for word in words)}


@pytest.fixture
def everything(
    transactional_db: None,
    settings: Settings,
    deliver: Callable[..., Any],
    set_: Callable[..., None],
) -> dict[Any, Any]:
    """Ada in every table that can hold her."""
    settings.OUTBOX = True
    suppressions.forget()
    mail: dict[str, Any] = {"channel": "email", "subject": "For c4711x", "body": "Code c4711x"}
    shouted = "Ada.Lovelace@Example.ORG"
    sent = send(**mail, recipient=shouted, reference="c4711x", html="<p>c4711x</p>")
    copy = send(
        channel="email", subject="S", body="B", recipient=OTHER, cc=[ADA, "eve@example.org"]
    )
    deliver(sent, copy)
    failed = send(channel="simulator", recipient=f"{ADA}?result=permanent&code=550", body="c4711x")
    Notification.objects.filter(pk=failed.pk).update(recipient=f"{ADA}?result=permanent&code=550")
    deliver(failed)
    FailedDelivery.objects.update(detail=f"550 <{ADA}>", history=[{"number": 1, "detail": ADA}])
    Notification.objects.filter(pk=failed.pk).update(recipient=ADA, channel="email")
    waits = send(**mail, recipient=ADA, countdown=600, idempotency_key="welcome-lovelace")
    old = send(**mail, recipient=ADA)
    deliver(old)
    Attempt.objects.update(detail=f"250 {ADA} accepted")
    Attempt.objects.exclude(notification=copy.id).update(provider_message_id="m-lovelace")
    set_("ARCHIVE_MONTHS", 24)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_notification SET finished_at = now() - interval '40 days'"
            " WHERE id = %s",
            [old.pk],
        )
    retention.prune()
    suppressions.suppress("email", ADA, "complaint", detail=f"said {ADA}")
    PendingReceipt.objects.create(
        account="a", channel="email", event="bounced", recipient=ADA, due_at=sent.created_at
    )
    batch = Batch.objects.create(errors=[{"index": 0, "field": "cc", "detail": f"'{ADA}' is bad"}])
    Event.objects.create(name="a.b", data={"to": [ADA]}, content_hash="x")
    RefusedRow.objects.create(batch=batch, place=0, error="E", detail=f"'{ADA}' is bad")
    TaskResult.objects.create(task_id="t", task_kwargs=json.dumps({"to": ADA, "code": "c4711x"}))
    FailedDelivery.objects.create(
        request={"recipient": ADA, "body": "c4711x"},
        channel="email",
        priority="low",
        reason="refused",
        error_class="E",
        fingerprint="f",
        created_at=sent.created_at,
    )
    return {"sent": sent, "copy": copy, "failed": failed, "waits": waits, "old": old}


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
        "suppressions": 1,
        "pending_receipts": 1,
        "refused_rows": 1,
        "events": 1,
        "job_results": 1,
        "schedules": 0,
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
    assert rows["sent"].recipient == personal_data.FORGOTTEN
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
    with pytest.raises(CommandError, match=r"being sent: 1\..*still write to the recipient: 1\."):
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
