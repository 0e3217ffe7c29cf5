"""Batches to audiences: each recipient of the moment gets one row, whoever writes it and dies."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client

from notifications.audiences import expansion, save_audience, send_to_audience
from notifications.core import errors
from notifications.core.routing import SEND_TO_AUDIENCE_TASK
from notifications.db import clock
from notifications.models import (
    Batch,
    Expansion,
    ExpansionChunk,
    Notification,
    Recipient,
    RecipientAddress,
    RefusedRow,
    Suppression,
)
from notifications.operations import batches
from notifications.queueing import eager, quarantine
from notifications.recipients import categories, suppressions, windows
from notifications.submission import acceptance, delete_recipient, save_recipient, save_recipients
from notifications.tasks import send_to_audience as task
from scheduling import jobs
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.api.conftest import Caller, call, caller
from tests.many_recipients import fill
from tests.servers.processes import Processes

__all__ = ["call", "caller"]

EVERYONE: dict[str, Any] = {"everyone": True}
PLAIN: dict[str, Any] = {"channel": "simulator", "body": "Hello"}


@pytest.fixture
def people(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten recipients, of whom a chunk has three."""
    monkeypatch.setattr(expansion, "CHUNK", 3)
    categories.forget()
    suppressions.forget()
    windows.forget()
    fill(10)
    save_audience("all", EVERYONE)


def work_off() -> None:
    while expansion.tick() == expansion.BUSY:
        pass


def keys() -> list[str]:
    return sorted(Notification.objects.values_list("recipient_key", flat=True))


ALL = sorted(f"c-{number}" for number in range(1, 11))


@pytest.mark.usefixtures("people")
def test_each_recipient_of_the_moment_gets_one_and_no_later_one_does() -> None:
    before = clock.now()
    batch = send_to_audience("all", name="news", **PLAIN)
    assert Notification.objects.count() == 0
    assert (batch.expansion.matched, batch.expansion.left) == (10, 10)
    assert before <= batch.expansion.frozen_at <= clock.now()
    save_recipient("late", addresses={"simulator": "late"})
    save_recipient("c-2", addresses={"simulator": "moved"})
    delete_recipient("c-9")
    work_off()
    batch = Batch.objects.get()
    assert (batch.accepted, batch.refused, batch.name) == (9, 1, "news")
    assert batch.closed_at is not None
    assert keys() == sorted({*ALL} - {"c-9"})
    # An address is that of the moment when its row is written.
    assert Notification.objects.get(recipient_key="c-2").recipient == "moved"
    row = batch.expansion
    assert (row.left, row.reasons, row.fields) == (0, {"UnknownRecipient": 1}, {})
    refused = RefusedRow.objects.get()
    assert (refused.field, refused.place) == ("to.recipient", 8)
    assert not ExpansionChunk.objects.exists()


@pytest.mark.usefixtures("people")
def test_two_that_expand_at_once_write_each_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = send_to_audience("all", **PLAIN)
    both = threading.Barrier(2, timeout=20)
    accept = acceptance.accept_many
    met = threading.local()

    def together(*args: Any, **options: Any) -> Any:
        if not getattr(met, "once", False):  # both hold a chunk before either writes one
            met.once = True
            both.wait()
        return accept(*args, **options)

    monkeypatch.setattr(acceptance, "accept_many", together)

    def expand() -> None:
        try:
            work_off()
        finally:
            connection.close()

    threads = [threading.Thread(target=expand) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batch.refresh_from_db()
    assert keys() == ALL
    assert (batch.accepted, batch.duplicates, batch.expansion.left) == (10, 0, 0)
    assert batch.closed_at is not None


@pytest.mark.usefixtures("people")
def test_a_chunk_that_comes_back_from_a_backup_doubles_nothing() -> None:
    batch = send_to_audience("all", **PLAIN)
    chunks = list(ExpansionChunk.objects.order_by("first"))
    expansion.tick()
    ids = set(Notification.objects.values_list("id", flat=True))
    ExpansionChunk.objects.bulk_create(chunks[:1])
    expansion.tick()
    assert set(Notification.objects.values_list("id", flat=True)) == ids
    work_off()
    batch.refresh_from_db()
    assert keys() == ALL
    assert (batch.accepted, batch.duplicates, batch.expansion.left) == (10, 3, 0)
    ExpansionChunk.objects.bulk_create(chunks[1:2])
    work_off()
    batch.refresh_from_db()
    assert (keys(), batch.accepted, batch.refused) == (ALL, 10, 0)


@pytest.mark.usefixtures("people")
def test_a_pause_stops_the_expansion_and_a_cancellation_ends_it(
    monkeypatch: pytest.MonkeyPatch, call: Caller, admin_client: Client
) -> None:
    batch = send_to_audience("all", **PLAIN)
    expansion.tick()
    assert batches.pause(batch)
    work_off()
    assert Notification.objects.count() == 3
    assert batches.resume(batch)
    expansion.tick()
    assert Notification.objects.count() == 6

    accept = acceptance.accept_many

    def cancelled_meanwhile(*args: Any, **options: Any) -> Any:
        answers = accept(*args, **options)
        thread = threading.Thread(target=_cancel, args=(batch.pk,))
        thread.start()
        thread.join()
        return answers

    monkeypatch.setattr(acceptance, "accept_many", cancelled_meanwhile)
    work_off()
    # Once it was cancelled, no row was added: not those of the chunk in hand, either.
    batch.refresh_from_db()
    assert (Notification.objects.count(), batch.accepted) == (6, 6)
    assert batch.closed_at is not None
    assert not ExpansionChunk.objects.exists()
    assert batch.expansion.finished_at is not None
    said = call.ok("GET", f"/notifications/batch/{batch.pk}")["audience"]
    assert (said["matched"], said["left"], said["cancelled"]) == (10, 0, 4)
    assert "10 recipients as of" in (page := _page_of(batch, admin_client))
    assert "4 got none: it was cancelled first" in page
    while batches.tick() == batches.BUSY:
        pass
    assert batches.progress(batch) == {"cancelled": 6}


def _page_of(batch: Batch, client: Client) -> str:
    return client.get(f"/admin/notifications/batch/{batch.pk}/change/").content.decode()


def _cancel(key: Any) -> None:
    batches.cancel(Batch.objects.get(pk=key))
    connection.close()


@pytest.mark.usefixtures("people")
def test_a_chunk_that_faults_rests_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = send_to_audience("all", **PLAIN)
    first = ExpansionChunk.objects.order_by("first").first()
    assert first is not None
    ExpansionChunk.objects.filter(pk=first.pk).update(members=["broken"])
    work_off()
    batch.refresh_from_db()
    assert (batch.accepted, batch.expansion.left, batch.closed_at) == (7, 3, None)
    ExpansionChunk.objects.filter(pk=first.pk).update(members=first.members)
    monkeypatch.setattr(quarantine, "passing_over", lambda rows, _: rows)
    work_off()
    batch.refresh_from_db()
    assert (batch.accepted, batch.expansion.left) == (10, 0)


@pytest.mark.usefixtures("people")
def test_preferences_suppressions_and_attributes_count_as_for_any_batch() -> None:
    template = Template.objects.create(name="news", channel="simulator", category="transactional")
    publish(create_version(template, {"subject": "S", "body": "Dear {{ name }}, {{ what }}"}))
    Recipient.objects.exclude(key="c-3").update(choices={"marketing": {"": True}})
    Suppression.objects.create(channel="simulator", recipient="c-4", reason="operator")
    suppressions.forget()
    RecipientAddress.objects.filter(recipient__key="c-5").delete()
    Recipient.objects.filter(key="c-6").update(attributes={"plan": "gold"})
    batch = send_to_audience(
        "all",
        channel="simulator",
        template="news",
        category="marketing",
        context={"what": "hello"},
        variables={"name": "attributes.first_name"},
    )
    work_off()
    batch.refresh_from_db()
    assert (batch.accepted, batch.refused) == (8, 2)
    assert batch.expansion.reasons == {
        "consent_missing": 1,
        "operator": 1,
        "UnknownRecipient": 1,
        "InvalidContext": 1,
    }
    assert Notification.objects.get(recipient_key="c-1").context == {"name": "N1", "what": "hello"}
    again = send_to_audience(
        "all",
        channel="simulator",
        template="news",
        context={"what": "x"},
        variables={"name": {"from": "attributes.first_name", "default": "friend"}},
    )
    work_off()
    assert Notification.objects.get(batch=again, recipient_key="c-6").context["name"] == "friend"


BAD: list[tuple[dict[str, Any], str, type[errors.InvalidNotification]]] = [
    ({"audience": "nobody"}, "audience", errors.UnknownAudience),
    ({"audience": 5}, "audience", errors.UnknownAudience),
    ({"audience": None}, "audience", errors.UnknownAudience),
    ({"common": {"channel": "fax"}}, "channel", errors.UnknownChannel),
    ({"common": {"template": "none"}}, "template", errors.UnknownTemplate),
    ({"common": {"template": "hello"}}, "variables", errors.InvalidField),
    ({"common": {"priority": "urgent"}}, "priority", errors.UnknownPriority),
    ({"common": {"category": "none"}}, "category", errors.UnknownCategory),
    ({"common": {"body": ""}}, "body", errors.MissingContent),
    ({"common": {"expires": -5}}, "expires", errors.InvalidTime),
    ({"common": {"context": []}}, "context", errors.InvalidField),
    ({"common": {"context": {"name": "Ada"}}}, "context", errors.MissingContent),
    ({"variables": {"name": "id"}}, "variables", errors.MissingContent),
    ({"variables": []}, "variables", errors.InvalidField),
    ({"variables": {"a b": "id"}}, "variables", errors.InvalidField),
    ({"variables": {"name": "password"}}, "variables.name", errors.InvalidField),
    ({"variables": {"name": "attributes."}}, "variables.name", errors.InvalidField),
    ({"variables": {"name": {"default": "x"}}}, "variables.name", errors.InvalidField),
]


@pytest.mark.parametrize(("changes", "field", "error"), BAD, ids=str)
@pytest.mark.usefixtures("people")
def test_what_nobody_could_be_sent_is_refused_at_once(
    call: Caller,
    changes: dict[str, Any],
    field: str,
    error: type[errors.InvalidNotification],
) -> None:
    template = Template.objects.create(name="hello", channel="simulator", category="transactional")
    publish(create_version(template, {"subject": "S", "body": "Dear {{ name }}"}))
    common = {**PLAIN, **changes.get("common", {})}
    if "template" in common:
        del common["body"]
    body = {"audience": "all", **changes, "common": common}
    with pytest.raises(error) as refused:
        send_to_audience(body["audience"], variables=body.get("variables"), **common)
    assert refused.value.field == field
    answer = call("POST", "/notifications/batch", body)
    said = answer.json()
    assert (answer.status_code, said["field"]) == (422, field), said
    jobs.allow(SEND_TO_AUDIENCE_TASK)
    kwargs = {"audience": body["audience"], **common}
    kwargs |= {"variables": body["variables"]} if "variables" in body else {}
    with pytest.raises(jobs.InvalidJob) as of_job:
        jobs.register("news", SEND_TO_AUDIENCE_TASK, 3600, kwargs=kwargs)
    assert of_job.value.field == f"kwargs.{field}"
    assert not Batch.objects.exists()


@pytest.mark.usefixtures("people")
def test_over_http_the_answer_says_whom_and_when_and_a_repetition_is_the_same(
    call: Caller,
) -> None:
    body = {"audience": "all", "common": PLAIN, "variables": {}}
    made = call("POST", "/notifications/batch", body, Idempotency_Key="k")
    assert made.status_code == 202
    said = made.json()["audience"]
    assert (said["name"], said["members"], said["matched"], said["left"]) == (
        "all",
        "frozen",
        10,
        10,
    )
    save_recipient("late", addresses={"simulator": "late"})
    again = call("POST", "/notifications/batch", body, Idempotency_Key="k")
    assert (again.status_code, again.json()) == (200, made.json())
    other = {**body, "common": {**PLAIN, "body": "Other"}}
    conflict = call("POST", "/notifications/batch", other, Idempotency_Key="k")
    assert (conflict.status_code, conflict.json()["field"]) == (409, "idempotency_key")
    work_off()
    shown = call.ok("GET", f"/notifications/batch/{made.json()['id']}")
    assert (shown["accepted"], shown["audience"]["left"]) == (10, 0)
    assert keys() == ALL
    [listed] = call.ok("GET", "/notifications/batch")["items"]
    assert listed["audience"]["finished_at"]
    for wrong in (
        {"audience": None},
        {"audience": "all", "notifications": []},
        {"audience": "all", "common": []},
    ):
        assert call("POST", "/notifications/batch", wrong).status_code == 422


@pytest.mark.usefixtures("people")
def test_a_schedule_sends_to_whom_the_audience_has_at_each_fire(call: Caller) -> None:
    jobs.allow(SEND_TO_AUDIENCE_TASK)
    job = {"name": "news", "handler": SEND_TO_AUDIENCE_TASK, "schedule": {"every": 3600}}
    made = call.ok("POST", "/jobs", {**job, "kwargs": {"audience": "all", **PLAIN}})
    assert made["audience"] == {"name": "all", "members": "live"}
    assert call.ok("GET", "/jobs")["items"][0]["audience"] == made["audience"]
    run = str(uuid4())
    task.apply((), {"audience": "all", **PLAIN}, task_id=run).get()
    task.apply((), {"audience": "all", **PLAIN}, task_id=run).get()
    assert Batch.objects.count() == 1
    save_recipient("late", addresses={"simulator": "late"})
    task.apply((), {"audience": "all", **PLAIN}, task_id=str(uuid4())).get()
    work_off()
    assert sorted(Batch.objects.values_list("accepted", flat=True)) == [10, 11]
    jobs.remove("news")


@pytest.mark.usefixtures("people")
def test_a_test_of_a_project_reaches_the_recipients_of_tests_alone(caller: Any) -> None:
    save_recipients([{"id": "t", "addresses": {"simulator": "t"}}], test=True)
    save_audience("all", EVERYONE, test=True)
    made = caller(kind="test").ok(
        "POST", "/notifications/batch", {"audience": "all", "common": PLAIN}
    )
    assert made["audience"]["matched"] == 1
    work_off()
    row = Notification.objects.get()
    assert (row.test, row.recipient_key) == (True, "t")


@pytest.mark.usefixtures("people")
def test_times_count_from_the_request_and_an_empty_audience_is_over_at_once() -> None:
    before = clock.now()
    batch = send_to_audience("all", **PLAIN, countdown=600, expires=1200)
    expansion.tick()
    row = Notification.objects.first()
    assert row is not None
    assert row.expires_at is not None
    assert before <= row.scheduled_at - timedelta(seconds=600) <= batch.expansion.frozen_at
    save_audience("nobody", {"field": "attributes.plan", "op": "eq", "value": "none"})
    empty = send_to_audience("nobody", **PLAIN)
    assert (empty.expansion.matched, empty.closed_at is None) == (0, False)


@pytest.mark.usefixtures("people")
def test_in_eager_mode_it_is_all_done_on_return() -> None:
    with eager.turned_on():
        send_to_audience("all", **PLAIN)
    assert set(Notification.objects.values_list("status", flat=True)) == {"sent"}
    assert keys() == ALL


def test_schedulers_that_are_killed_in_the_middle_leave_one_row_for_each(
    processes: Processes, wait_until: Callable[..., Any]
) -> None:
    count = 30_000
    fill(count)
    save_audience("all", EVERYONE)
    schedulers = [processes.beat() for _ in range(2)]
    batch = send_to_audience("all", **PLAIN, priority="low")
    seen = 0
    for _ in range(3):
        wait_until(lambda seen=seen: Notification.objects.count() > seen)
        schedulers.pop(0).kill()
        seen = Notification.objects.count()
        schedulers.append(processes.beat())
    wait_until(lambda: Expansion.objects.get().finished_at is not None)
    batch.refresh_from_db()
    assert 0 < seen < count
    assert (batch.accepted, batch.refused, batch.duplicates) == (count, 0, 0)
    assert batch.closed_at is not None
    rows = Notification.objects.values_list("recipient_key", flat=True)
    assert len(rows) == len(set(rows)) == count
