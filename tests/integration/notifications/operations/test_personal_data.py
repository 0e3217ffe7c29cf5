"""A recipient's data is handed out whole, and forgotten everywhere; suppressions still hold."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from django_celery_results.models import GroupResult, TaskResult
from pytest_django import Settings

from notifications.callbacks import outbound
from notifications.core import routing
from notifications.db import clock
from notifications.maintenance import retention
from notifications.models import (
    ArchivedNotification,
    Attempt,
    Audience,
    Batch,
    Chain,
    ChainRun,
    Consent,
    Digest,
    Event,
    EventEffect,
    EventRule,
    Expansion,
    FailedDelivery,
    Hold,
    MailContent,
    Notification,
    OutboxMessage,
    PendingReceipt,
    Recipient,
    RecipientAddress,
    RefusedRow,
    Status,
    Suppression,
    Throttle,
    ThrottleUse,
)
from notifications.operations import personal_data
from notifications.operations.person import FORGOTTEN
from notifications.recipients import suppressions
from notifications.submission import cancel, save_recipient, send
from scheduling.models import Fire, FireStatus, Schedule

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


# Every column of text that could name a recipient, by its table; ``everything`` fills each of them.
PERSONAL = {
    "django_admin_log": {"object_repr", "change_message"},
    "django_celery_beat_periodictask": {"args", "kwargs"},
    "django_celery_results_groupresult": {"result"},
    "django_celery_results_taskresult": {
        *("task_args", "task_kwargs", "result", "traceback", "meta"),
    },
    "notifications_attempt": {"detail", "provider_message_id"},
    "notifications_audience": {"filter", "description"},
    "notifications_batch": {"name", "errors"},
    "notifications_chain": {"steps"},
    "notifications_chainrun": {"recipient_key", "idempotency_key"},
    "notifications_consent": {"text"},
    "notifications_digest": {"recipient_key", "recipient", "key"},
    "notifications_event": {"data", "key"},
    "notifications_throttleuse": {"recipient_key", "recipient"},
    "notifications_eventeffect": {"detail", "match"},
    "notifications_eventrule": {
        *("condition", "recipients", "to", "context", "match", "cancel_match"),
    },
    "notifications_expansion": {"filter", "fields", "variables"},
    "notifications_faileddelivery": {"detail", "history", "request", "resolution"},
    "notifications_hold": {"reason"},
    "notifications_mailcontent": {"fields"},
    "notifications_outboxmessage": {"recipient", "content"},
    "notifications_pendingreceipt": {"recipient", "detail"},
    "notifications_recipient": {"key", "attributes"},
    "notifications_recipientaddress": {"address"},
    "notifications_refusedrow": {"detail"},
    "notifications_suppression": {"recipient", "detail"},
    "scheduling_fire": {"call", "error", "history", "note", "resolution"},
    "scheduling_schedule": {"definition"},
}
OF_A_NOTIFICATION = {
    *("recipient", "context", "subject", "body", "reference", "metadata", "idempotency_key"),
    *("callback_url", "options", "recipient_key"),
}
PERSONAL["notifications_notification"] = OF_A_NOTIFICATION
PERSONAL["notifications_archivednotification"] = OF_A_NOTIFICATION | {"attempts"}
# Left to a person, who is told of them: what they do goes on until somebody changes it.
TOLD_ONLY = {
    *("django_celery_beat_periodictask", "scheduling_schedule"),
    *("notifications_chain", "notifications_eventrule"),
}
# Tables of other packages whose rows are about no recipient: people who work here, and processes.
IMPERSONAL_TABLES = re.compile(
    r"auth_\w+|account_\w+|mfa_\w+|socialaccount_\w+|django_(content_type|migrations|session|site)"
    r"|config_auditentry"  # masks what it writes: test_audit.py
    r"|django_celery_beat_(?!periodictask$)\w+|django_celery_results_chordcounter"
)
# What is configured, or written for everybody, by table. The members of a chunk are primary keys,
# which mean nobody once the recipient is deleted.
CONFIGURED = {
    "notifications_accountrule": {"template", "country_prefix"},
    "notifications_apikey": {"prefix", "secret_hash", "scopes"},
    "notifications_bulkreplay": {"refused"},
    "notifications_category": {"title", "channel_defaults"},
    "notifications_chain": {"template"},
    "notifications_deliverywindow": {
        "template",
        "days",
        "if_late",
        "late_channel",
        "late_template",
    },
    "notifications_eventrule": {"template", "cancel_on"},
    "notifications_expansion": {"audience", "reasons"},
    "notifications_expansionchunk": {"members"},
    "notifications_provideraccount": {"settings", "secrets", "rate_limit"},
    "notifications_quarantinedrow": {"loop", "key", "stage", "place"},
    "notifications_queueweight": {"queue"},
    "notifications_ratelimit": {"template", "rate"},
    "notifications_throttle": {"rest", "template"},
    "scheduling_lease": {"owner"},
    "scheduling_uniquerun": {"key"},
    "scheduling_workerprocess": {"queues", "tasks"},
    "templates_engine_partial": {"source"},
    "templates_engine_templateversion": {
        *("variants", "sample_context", "context_schema", "compiled", "required", "checksum"),
    },
}
# Columns that hold words of the system's own.
IMPERSONAL = re.compile(
    r"id|\w+_id|channel|priority|locale|guarantee|retry|content_hash|traceparent|told_status"
    r"|continuation"  # the Celery tasks to call afterwards, for the seconds until they are called
    r"|status|state|reason|provider|result|choice|code|worker|project|namespace|error_class|kind"
    r"|fingerprint|digest|account|event|name|rule_name|outcome|cancellation|field|error|scope|value"
    r"|source|misfire|overlap|recurrence|groups|concurrency_key|unique_key|condition|origin|rule"
    r"|category|choices|means|quarantine_reason|cause|task|queue|exchange|routing_key|headers|description"
    r"|timezone|country|periodic_task_name|task_name|content_type|content_encoding|stored_as"
    r"|chain|stop_on|waits|skipped"
)


def columns_of_text() -> set[tuple[str, str]]:
    """Return every column of text or JSON of a table whose rows may be about a recipient."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = current_schema()"
            " AND data_type IN ('text', 'character varying', 'jsonb')"
        )
        # A month's partition has its table's columns.
        found = {
            (re.sub(r"(_\d+)+$|_default$", "", table), str(column))
            for table, column in cursor.fetchall()
        }
    return {(table, column) for table, column in found if not IMPERSONAL_TABLES.fullmatch(table)}


def filled() -> set[tuple[str, str]]:
    """Return the columns in which a word of Ada's stands."""
    return {
        (re.sub(r"(_\d+)+$|_default$", "", table), column)
        for table, row in dump()
        for column, value in json.loads(row).items()
        if any(word in json.dumps(value).lower() for word in WORDS)
    }


def test_every_column_that_could_name_a_recipient_is_known_and_emptied(
    everything: dict[Any, Any],
) -> None:
    PeriodicTask.objects.update(args=json.dumps([ADA]), kwargs=json.dumps({"to": ADA}))
    of_code = {"definition": {"kwargs": {"to": ADA}}}
    Schedule.objects.update_or_create(pk=PeriodicTask.objects.get().pk, defaults=of_code)
    Chain.objects.create(name="alarm", steps=[{"channel": "email", "recipient": ADA, "body": "B"}])
    expressions = ("condition", "recipients", "to", "match", "cancel_match")
    EventRule.objects.create(
        name="r", event="a.b", context={"to": f"'{ADA}'"}, **dict.fromkeys(expressions, f"'{ADA}'")
    )
    stored = Recipient.objects.create(key="c4711x", attributes={"name": "Ada Lovelace"})
    RecipientAddress.objects.create(recipient=stored, channel="email", address=ADA, place=0)
    Consent.objects.create(recipient=stored, category="a", means="sms", text="Stop, Ada Lovelace")
    for model in (Notification, ArchivedNotification):
        model._base_manager.filter(reference="c4711x").update(recipient_key="c4711x")
    personal = {(table, column) for table, columns in PERSONAL.items() for column in columns}
    configured = {(table, column) for table, columns in CONFIGURED.items() for column in columns}
    unknown = {
        (table, column)
        for table, column in columns_of_text() - personal - configured
        if not IMPERSONAL.fullmatch(column)
    }
    assert unknown == set()
    assert personal - filled() == set()  # else nothing is shown by what follows
    done = personal_data.forget(ADA)
    assert {table for table, _ in filled()} == TOLD_ONLY
    assert [done[name] for name in ("schedules", "chains", "event_rules")] == [1, 1, 1]
    for which in ("Schedules", "Chains", "Event rules"):
        assert f"{which} that still write" in personal_data.left_to_do(done)


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
    for one in (event, of_others, audience, elsewhere, fire):
        one.refresh_from_db()
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
    FailedDelivery.objects.update(
        detail=f"550 <{ADA}>", history=[{"number": 1, "detail": ADA}], resolution=f"by {ADA}"
    )
    Notification.objects.filter(pk=failed.pk).update(recipient=ADA, channel="email")
    waits = send(**mail, recipient=ADA, countdown=600, idempotency_key="welcome-lovelace")
    old = send(**mail, recipient=ADA)
    for row in (sent, old):
        Notification.objects.filter(pk=row.pk).update(
            context={"code": "c4711x"},
            metadata={"customer": "c4711x"},
            options={"to_name": "Ada Lovelace"},
            reference="c4711x",
            idempotency_key=f"c4711x {row.pk}",
            callback_url=f"https://shop.example/?of={ADA}",
        )
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
        account="a",
        channel="email",
        event="bounced",
        recipient=ADA,
        detail=f"550 <{ADA}>",
        due_at=sent.created_at,
    )
    bad = {"index": 0, "field": "cc", "detail": f"'{ADA}' is bad"}
    batch = Batch.objects.create(name=f"for {ADA}", errors=[bad])
    asked = {"field": "attributes.mail", "op": "eq", "value": ADA}
    Audience.objects.create(name="ada", filter=asked, description=f"only {ADA}")
    Expansion.objects.create(
        batch=batch,
        audience="ada",
        filter=asked,
        fields={"cc": [ADA]},
        variables={"mail": {"default": ADA}},
        matched=1,
        frozen_at=sent.created_at,
        finished_at=sent.created_at,
    )
    event = Event.objects.create(name="a.b", key=ADA, data={"to": [ADA]}, content_hash="x")
    EventEffect.objects.create(
        event=event, rule_name="r", outcome="refused", detail=f"'{ADA}' is bad", match=ADA
    )
    run = ChainRun.objects.create(
        recipient_key="c4711x", idempotency_key="run-lovelace", stop_on="sent", content_hash="x"
    )
    Notification.objects.filter(pk=waits.pk).update(chain_run=run.pk, chain_step=1)
    throttle = Throttle.objects.create(category="product", limit=1)
    now = clock.now()
    ThrottleUse.objects.create(
        throttle=throttle, recipient_key="c4711x", recipient=ADA, since=now, until=now
    )
    Digest.objects.create(
        id=waits.pk, channel="email", recipient=ADA, recipient_key="c4711x", key=ADA, limit=5
    )
    Hold.objects.create(scope="queue", value="email.low", reason=f"asked by {ADA}")
    RefusedRow.objects.create(batch=batch, place=0, error="E", detail=f"'{ADA}' is bad")
    texts = ("task_args", "task_kwargs", "result", "traceback", "meta")
    TaskResult.objects.create(task_id="t", **dict.fromkeys(texts, json.dumps({"to": ADA})))
    GroupResult.objects.create(group_id="g", result=json.dumps([ADA]))
    task = PeriodicTask.objects.create(
        name="tidy", task="shop.tidy", interval=IntervalSchedule.objects.create(every=9)
    )
    Schedule.objects.get_or_create(pk=task.pk)
    Fire.objects.create(
        schedule_id=task.pk,
        scheduled_for=sent.created_at,
        fire_at=sent.created_at,
        status=FireStatus.FAILED,
        error=f"ValueError: {ADA}",
        history=[{"attempt": 1, "error": f"ValueError: {ADA}"}],
        note=f"for {ADA}",
        resolution=f"asked by {ADA}",
        finished_at=sent.created_at,
        call={"kwargs": {"path": "shop.tidy", "args": [ADA], "kwargs": {}}},
    )
    LogEntry.objects.create(
        user=User.objects.create_user("boss"),
        action_flag=1,
        object_repr=f"email to {ADA}",
        change_message=json.dumps([{"added": {"object": ADA}}]),
    )
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


@pytest.mark.parametrize("given", ["", " ", "\u00a0", "@", "a@"])
def test_what_is_no_recipient_is_refused_and_nothing_is_forgotten(
    everything: dict[Any, Any], admin_client: Client, given: str
) -> None:
    """An unset variable of a shell once emptied the texts of everybody."""
    before = told("lovelace")
    with pytest.raises(CommandError, match="This is no recipient"):
        call_command("forget", given, no_input=True)
    with pytest.raises(CommandError, match="This is no recipient"):
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
