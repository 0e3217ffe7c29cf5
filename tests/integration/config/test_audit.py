"""The audit log: who did what to which row, without contents, and nobody changes it."""

import csv
import io
import json
import warnings
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.management import get_commands
from django.db import InternalError, connection, transaction
from django.db.utils import IntegrityError
from django.test import Client
from django_celery_beat.models import PeriodicTask
from notifications_python_client.authentication import create_jwt_token
from pytest_django import Settings

from config.audit import acts, commands, log, requests
from config.models import AuditEntry
from notifications.db import clock
from notifications.gateways.govuk import client_keys
from notifications.models import ProviderAccount, Suppression
from notifications.operations import api_keys
from notifications.submission import send
from tests.servers.processes import Processes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    requests._seen.clear()


@pytest.fixture
def boss(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss", password="secret"))
    return client


@pytest.fixture
def called() -> Any:
    """Call the API with a new key: gives what calls it, and the key's prefix."""
    key = api_keys.create("shop")

    def call(method: str, path: Any, body: Any = None) -> Any:
        ask = getattr(Client(), method)
        headers = {"Authorization": f"Bearer {key.token}"}
        return ask(f"/api/v1/{path}", body, content_type="application/json", headers=headers)

    return call, key.row.prefix


def entries(*names: Any) -> list[Any]:
    return [
        tuple(row)
        for row in AuditEntry.objects.exclude(act__startswith="session.")
        .order_by("id")
        .values_list(*names)
    ]


def became(entry: Any, column: Any) -> Any:
    return (entry.before or {})[column], (entry.after or {})[column]


def test_a_change_in_the_admin_is_written_with_before_and_after(boss: Client) -> None:
    row = ProviderAccount.objects.create(name="mail-a", channel="email", kind="smtp", weight=1)
    group = Group.objects.create(name="night shift")
    boss.post(f"/admin/auth/group/{group.pk}/change/", {"name": "day shift"})
    (entry,) = AuditEntry.objects.filter(act="group.change")
    assert (entry.kind, entry.who, entry.object_id) == ("person", "boss", str(group.pk))
    assert (entry.before, entry.after) == ({"name": "night shift"}, {"name": "day shift"})
    assert entry.request_id
    boss.post(f"/admin/notifications/provideraccount/{row.pk}/delete/", {"post": "yes"})
    (entry,) = AuditEntry.objects.filter(act="provideraccount.delete")
    assert (entry.before or {})["name"] == "mail-a"
    assert entry.after is None


def test_what_a_form_refuses_is_no_act(boss: Client) -> None:
    group = Group.objects.create(name="night shift")
    assert boss.post(f"/admin/auth/group/{group.pk}/change/", {"name": ""}).status_code == 200
    assert entries("act") == []


def test_an_action_on_rows_is_written_for_each_row_that_it_changed(boss: Client) -> None:
    rows = [send(channel="simulator", recipient="ada", body="B", countdown=600) for _ in "ab"]
    ids = [str(row.id) for row in rows]
    boss.post(
        "/admin/notifications/notification/",
        {"action": "cancel_selected", "_selected_action": ids},
    )
    assert sorted(entries("act", "object_id")) == sorted(
        ("notification.cancel_selected", id_) for id_ in ids
    )
    entry = AuditEntry.objects.filter(object_id=ids[0]).get()
    assert became(entry, "status") == ("scheduled", "cancelled")


def test_contents_and_recipients_are_masked_and_their_changes_seen(boss: Client) -> None:
    User.objects.create_user("eve", email="eve@example.org", password="first-secret")
    eve = User.objects.get(username="eve")
    form = {"username": "eve", "email": "lovelace@example.org", "is_staff": "on"}
    boss.post(f"/admin/auth/user/{eve.pk}/change/", form)
    row = send(channel="email", recipient="ada@example.org", subject="S4711", body="B4711")
    boss.post(f"/admin/notifications/notification/{row.id}/suppress/", {"_form_submitted": "on"})
    kept = Suppression.objects.get()
    boss.post(
        "/admin/notifications/suppression/", {"action": "lift", "_selected_action": [kept.pk]}
    )
    (entry,) = AuditEntry.objects.filter(act="user.change")
    was, is_now = became(entry, "email")
    assert was.startswith("hidden:")
    assert was != is_now
    assert {"user.change", "notification.suppress", "suppression.lift"} <= {
        act for (act,) in entries("act")
    }
    everything = json.dumps(list(AuditEntry.objects.values("before", "after", "detail")))
    for word in ("lovelace", "eve@", "ada@", "4711", "secret"):
        assert word not in everything


def test_who_looks_at_contents_is_written_once_a_minute(boss: Client) -> None:
    row = send(channel="email", recipient="ada@example.org", subject="S", body="B")
    page = f"/admin/notifications/notification/{row.id}/change/"
    for _ in range(3):
        assert boss.get(page).status_code == 200
    boss.get("/admin/notifications/notification/", {"q": "ada@example.org"})
    boss.get("/outbox/")
    assert entries("act", "object_id", "detail") == [
        ("notification.change", str(row.id), ""),
        ("notification.changelist", "", "asked by q"),
        ("outbox", "", ""),
    ]


def test_a_viewer_who_sees_no_contents_writes_nothing(client: Client) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_notification"))
    client.force_login(viewer)
    row = send(channel="email", recipient="ada@example.org", subject="S", body="B")
    assert client.get(f"/admin/notifications/notification/{row.id}/change/").status_code == 200
    assert entries("act") == []


def test_acts_of_a_key_are_written_with_its_prefix(called: Any) -> None:
    call, prefix = called
    row = send(channel="simulator", recipient="ada", body="B", countdown=600)
    assert call("post", f"notifications/{row.id}/cancel").status_code == 200
    assert call("get", f"notifications/{row.id}").status_code == 200
    made = call("post", "suppressions", {"channel": "email", "recipient": "ada@example.org"})
    assert made.status_code in (200, 201)
    job = {"name": "tidy", "handler": "notifications.send_notification", "schedule": {"every": 60}}
    job["kwargs"] = {"channel": "simulator", "recipient": "ada-lovelace", "body": "4711"}
    assert call("post", "jobs", job).status_code == 201
    id_ = PeriodicTask.objects.get(name="tidy").pk
    assert call("patch", f"jobs/{id_}", {"schedule": {"every": 90}}).status_code == 200
    assert call("delete", f"jobs/{id_}").status_code == 204
    assert entries("kind", "who_id", "act", "object_id") == [
        ("key", prefix, act, str(object_id))
        for act, object_id in (
            ("cancel_notification", row.id),
            ("get_notification", row.id),
            ("create_suppression", Suppression.objects.get().pk),
            ("create_job", id_),
            ("change_job", id_),
            ("delete_job", id_),
        )
    ]
    everything = json.dumps(list(AuditEntry.objects.values("before", "after", "detail")))
    assert not any(word in everything for word in ("ada", "4711", "lovelace"))
    cancelled = AuditEntry.objects.get(act="cancel_notification")
    assert became(cancelled, "status") == ("scheduled", "cancelled")


def test_what_clients_of_gov_uk_notify_look_at_is_written() -> None:
    row = send(channel="email", recipient="ada@example.org", subject="S", body="4711")
    key = api_keys.create("old system").row
    token = client_keys.of(key)
    signed = create_jwt_token(token[-36:], token[-73:-37])
    for path in ("notifications", f"notifications/{row.id}", "templates"):
        answer = Client().get(f"/v2/{path}", headers={"Authorization": f"Bearer {signed}"})
        assert answer.status_code == 200
    assert entries("kind", "who_id", "act", "object_id") == [
        ("key", key.prefix, "list_notifications", ""),
        ("key", key.prefix, "get_notification", str(row.id)),
    ]


def test_what_is_refused_is_no_act_and_a_send_is_its_own_record(called: Any) -> None:
    call, _ = called
    sent = call("post", "notifications", {"channel": "simulator", "recipient": "a", "body": "B"})
    assert sent.status_code in (200, 201, 202)
    assert call("post", "notifications/0/cancel").status_code in (404, 422)
    assert Client().get("/api/v1/notifications").status_code == 401
    assert entries("act") == []


def test_every_operation_of_the_api_is_known() -> None:
    names = set(requests.operations().values())
    reading = {name for (_, method), name in requests.operations().items() if method == "GET"}
    assert reading - acts.PLAIN_OPERATIONS == {
        *("get_notification", "list_notifications", "get_batch_errors", "list_suppressions"),
        *("get_failed_delivery", "list_failed_deliveries", "get_job", "list_jobs"),
        *("get_failed_run", "list_failed_runs", "get_event", "list_events"),
        *("get_recipient", "list_recipients", "list_chains", "get_chain_run"),
        *("get_preferences", "list_consent", "preview_audience"),
    }
    assert reading >= acts.PLAIN_OPERATIONS
    assert names - reading >= acts.UNWRITTEN_OPERATIONS
    assert acts.HARMLESS_PAGES
    assert {label for label in acts.REVEALING if "outbox" not in label} <= {
        model._meta.label_lower for model in admin.site._registry
    }


def test_every_command_that_reveals_or_changes_is_written() -> None:
    ours = {
        name
        for name, app in get_commands().items()
        if app in ("config", "notifications", "scheduling", "templates_engine")
    }
    assert ours & acts.UNWRITTEN_COMMANDS == {"status", "doctor", "scheduler_health"}
    assert ours >= acts.SHOWN_ARGUMENTS


def test_a_command_is_written_without_what_it_was_given() -> None:
    commands.note(["send", "email", "ada@example.org", "--body=4711", "--wait", "30"])
    commands.note(["hold", "queue", "email.low", "--reason", "asked by ada@example.org"])
    commands.note(["status", "--once"])
    commands.note(["shell", "-c", "print('4711')"])
    assert entries("kind", "act", "detail") == [
        ("command", "send", "--body --wait"),
        ("command", "hold", "queue email.low --reason asked by …"),
        ("command", "shell", "-c"),
    ]


def test_a_real_command_is_written_when_it_has_ended_well(processes: Processes) -> None:
    failed = processes.start("hold", "python", "manage.py", "hold", "queue", "no-such")
    processes.run("key", "python", "manage.py", "create_api_key", "shop")
    processes.run("key", "python", "-m", "config.command", "create_api_key", "bank")
    assert failed.wait() != 0
    assert entries("kind", "act", "detail") == [
        ("command", "create_api_key", "shop"),
        ("command", "create_api_key", "bank"),
    ]


def test_logins_are_written_and_wrong_passwords_for_names_that_exist(client: Client) -> None:
    User.objects.create_user("ada", password="right", is_staff=True)
    for name, password in (("ada", "wrong"), ("typed-my-password-here", "x"), ("ada", "right")):
        client.post("/admin/login/", {"username": name, "password": password})
    client.post("/admin/logout/")
    acts_ = AuditEntry.objects.order_by("id").values_list("act", "who")
    assert list(acts_) == [
        ("session.refused", "ada"),
        ("session.login", "ada"),
        ("session.logout", "ada"),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE config_auditentry SET who = 'eve'",
        "DELETE FROM config_auditentry",
        "TRUNCATE config_auditentry",
    ],
)
def test_nobody_changes_the_log(statement: str) -> None:
    log.record(log.Who(log.Kind.PERSON, "ada"), "hold.add")
    refused = pytest.raises((InternalError, IntegrityError), match="only ever added to")
    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert entries("who") == [("ada",)]


def test_old_entries_are_pruned_by_the_setting(settings: Settings) -> None:
    with connection.cursor() as cursor:
        for days in (1, 29, 31, 400):
            log.record(log.Who(log.Kind.PERSON, f"of {days}"), "hold.add")
        cursor.execute("ALTER TABLE config_auditentry DISABLE TRIGGER config_audit_kept")
        for days in (1, 29, 31, 400):
            AuditEntry.objects.filter(who=f"of {days}").update(
                at=clock.now() - timedelta(days=days)
            )
        cursor.execute("ALTER TABLE config_auditentry ENABLE TRIGGER config_audit_kept")
    settings.AUDIT_KEEP_DAYS = 0
    assert log.prune() == 0
    settings.AUDIT_KEEP_DAYS = 30
    assert log.prune() == 2
    assert entries("who") == [("of 1",), ("of 29",)]


def test_the_log_is_filtered_and_taken_along_as_csv(boss: Client) -> None:
    log.record(log.Who(log.Kind.KEY, "=1+1", "abc"), "cancel_batch", detail="d")
    log.record(log.Who(log.Kind.PERSON, "ada"), "hold.add", after={"scope": "everything"})
    page = boss.get("/admin/config/auditentry/", {"act": "cancel_batch"})
    assert "=1+1" in page.content.decode()
    assert boss.get("/admin/config/auditentry/", {"at__gte": "2026-01-01"}).status_code == 200
    boss.cookies["zone"] = "Asia/Kolkata"  # a time without an offset is one of the viewer's clock
    there = AuditEntry.objects.get(act="cancel_batch").at.astimezone(ZoneInfo("Asia/Kolkata"))
    for at, shown in ((there, True), (there + timedelta(seconds=1), False)):
        typed = {"act": "cancel_batch", "at__gte": f"{at:%Y-%m-%d %H:%M:%S}"}
        with warnings.catch_warnings(action="error", category=RuntimeWarning):
            found = boss.get("/admin/config/auditentry/", typed).content.decode()
        assert ("=1+1" in found) is shown
    del boss.cookies["zone"]
    answer = boss.get("/admin/config/auditentry/export/", {"kind__exact": "key"})
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert [(row["who"], row["act"]) for row in rows] == [("'=1+1", "cancel_batch")]
    everything = boss.get("/admin/config/auditentry/export/")
    assert "everything" in b"".join(everything).decode()
    assert ("auditentry.export",) in entries("act")
