"""Cancel, pause and hold: what was answered holds from that moment, in each claim."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from notifications import submission
from notifications.core import errors
from notifications.db import clock
from notifications.delivery import claims
from notifications.maintenance import sweep
from notifications.models import Batch, Hold, Notification, ProviderAccount, Status
from notifications.operations import batches, holds
from notifications.providers import accounts
from notifications.queueing import backlog
from notifications.submission import send, send_many
from scheduling.models import Fire, Schedule
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.conftest import SIMULATED

OTHER: dict[str, Any] = {**SIMULATED, "priority": "low"}


@pytest.fixture(autouse=True)
def _nothing_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_holds_until", 0.0)


@pytest.fixture
def template(db: None) -> Template:
    made = Template.objects.create(name="news", channel="simulator")
    publish(create_version(made, {"body": "Hello", "subject": "Hi"}))
    return made


@pytest.fixture
def fire(db: None) -> Fire:
    every = IntervalSchedule.objects.create(every=1, period="days")
    task = PeriodicTask.objects.create(name="nightly", task="x", interval=every)
    schedule, _ = Schedule.objects.get_or_create(periodic_task=task)
    now = clock.now()
    return Fire.objects.create(schedule=schedule, scheduled_for=now, fire_at=now)


def claimed(row: Any) -> bool:
    """Return whether a worker that hears of this row, or of its queue, may take it."""
    by_queue = claims.claim_due(row.channel, row.priority, 100)
    return bool(claims.claim([row.id])) or row.id in {claim.id for claim in by_queue}


@pytest.mark.parametrize(
    ("scope", "value"),
    [("everything", ""), ("channel", "simulator"), ("queue", "simulator.medium")],
)
def test_of_a_held_queue_nothing_is_claimed_or_counted_as_due(
    transactional_db: None,
    scope: str,
    value: str,
    messages_on_the_broker: Callable[..., list[dict[str, Any]]],
) -> None:
    [row] = Notification.objects.filter(batch=send_many([SIMULATED]).batch)
    messages = len(messages_on_the_broker("simulator.medium"))
    holds.hold(scope, value)
    assert not claimed(row)
    queue = next(q for q in backlog.look(10) if (q.channel, q.priority) == ("simulator", "medium"))
    assert (queue.due, queue.held) == (0, True)
    sweep.sweep()
    late = send(**SIMULATED)
    assert len(messages_on_the_broker("simulator.medium")) == messages
    assert holds.release(scope, value)
    assert {claim.id for claim in claims.claim_due("simulator", "medium", 9)} == {row.id, late.id}


def test_a_hold_lets_other_queues_go_on(transactional_db: None) -> None:
    held, free = send(**SIMULATED), send(**OTHER)
    holds.hold("queue", "simulator.medium")
    assert not claimed(held)
    assert claimed(free)


def test_a_held_template_waits_in_every_version_and_beside_others(
    transactional_db: None, template: Template
) -> None:
    fields: dict[str, Any] = {"channel": "simulator", "recipient": "ada", "template": "news"}
    first = send(**fields)
    publish(create_version(template, {"body": "Hello again", "subject": "Hi"}))
    holds.hold("template", "news")
    second = send(**fields)
    assert not claimed(first)
    assert not claimed(second)
    assert claimed(send(**SIMULATED))


def test_a_held_schedules_sends_wait(transactional_db: None, fire: Fire) -> None:
    single = submission.submit(SIMULATED, id_=fire.id).notification
    many = send_many([SIMULATED], batch=batches.of_run(str(fire.id))).batch
    holds.hold("schedule", "nightly")
    assert not claimed(single)
    of_the_batch = Notification.objects.get(batch=many)
    assert not claimed(of_the_batch)
    for row in (single, of_the_batch):
        assert [str(hold) for hold in holds.covering(row)] == ["schedule nightly"]
    assert claimed(send(**SIMULATED))
    holds.release("schedule", "nightly")
    assert claimed(single)


def test_rows_of_a_hold_are_parked_and_due_again_after_it(
    transactional_db: None, template: Template, age: Callable[..., None]
) -> None:
    fields: dict[str, Any] = {"channel": "simulator", "recipient": "ada", "template": "news"}
    row, later = send(**fields), send(**fields, countdown=3600)
    age(row)
    holds.hold("template", "news")
    holds.tick()
    row.refresh_from_db()
    assert (row.status, row.due_at, row.reason) == ("scheduled", None, "held")
    holds.release("template", "news")
    row.refresh_from_db()
    later.refresh_from_db()
    assert row.due_at
    assert row.due_at <= clock.now()
    assert later.due_at
    assert later.due_at > clock.now() + timedelta(minutes=50)
    assert not Hold.objects.exists()


def test_a_held_account_is_passed_over_and_without_another_its_messages_wait(
    transactional_db: None, deliver: Callable[..., Any]
) -> None:
    for name in ("a", "b"):
        ProviderAccount.objects.create(name=name, channel="simulator", kind="simulator")
    accounts.forget()
    holds.hold("account", "a", reason="their bill is not paid")
    rows = [send(**SIMULATED) for _ in range(8)]
    deliver(*rows)
    assert set(Notification.objects.values_list("status", "provider")) == {("sent", "b")}
    holds.hold("account", "b")
    waiting = send(**SIMULATED)
    deliver(waiting)
    waiting.refresh_from_db()
    assert (waiting.status, waiting.reason) == ("scheduled", "account_held")
    assert [str(hold) for hold in holds.covering(waiting)] == ["account a", "account b"]
    assert holds.release("account", "b")
    waiting.refresh_from_db()
    assert waiting.due_at
    assert waiting.due_at <= clock.now()
    accounts.forget()


@pytest.mark.parametrize(
    ("scope", "value"),
    [
        ("channel", "fax"),
        ("queue", "email"),
        ("template", "none"),
        ("galaxy", ""),
        ("everything", "x"),
    ],
)
def test_what_is_not_there_cannot_be_held(transactional_db: None, scope: str, value: str) -> None:
    with pytest.raises(errors.InvalidField):
        holds.hold(scope, value)
    assert not Hold.objects.exists()


def test_held_twice_it_keeps_its_first_reason_and_is_released_once(transactional_db: None) -> None:
    holds.hold("channel", "email", reason="first")
    assert holds.hold("channel", "email", reason="second").reason == "first"
    assert holds.release("channel", "email")
    assert not holds.release("channel", "email")


@pytest.mark.parametrize("turn", ["pause", "cancel"])
def test_the_answer_counts_what_can_never_be_sent_before_the_rows_have_followed(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, turn: str
) -> None:
    monkeypatch.setattr(batches, "CHUNK", 2)
    batch = send_many([SIMULATED] * 9).batch
    assert len(claims.claim_due("simulator", "medium", 1)) == 1
    assert getattr(batches, turn)(batch)
    state = {"pause": "paused", "cancel": "cancelled"}[turn]
    assert batches.progress(batch) == {state: 8, "sending": 1}
    assert Notification.objects.exclude(status__in=("queued", "sending")).count() == 2
    assert claims.claim_due("simulator", "medium", 100) == []


def test_a_retry_that_comes_back_to_a_paused_batch_is_parked(transactional_db: None) -> None:
    batch = send_many([SIMULATED]).batch
    [taken] = claims.claim_due("simulator", "medium", 1)
    batches.pause(batch)
    Notification.objects.filter(id=taken.id).update(status=Status.SCHEDULED, due_at=clock.now())
    assert claims.claim_due("simulator", "medium", 1) == []
    batches.tick()
    assert Notification.objects.get(id=taken.id).due_at is None


def claiming(stop: Any, taken: Any) -> None:
    """Claim as a worker does, noting when each claim was there."""
    try:
        while not stop.is_set():
            found = claims.claim_due("simulator", "medium", 5)
            taken.append((time.monotonic(), len(found)))
    finally:
        connection.close()


@pytest.mark.parametrize("what", ["cancel", "pause", "hold", "template"])
def test_after_the_answer_no_worker_claims_another(
    transactional_db: None, template: Template, what: str
) -> None:
    rows = 3000
    fields: dict[str, Any] = {"channel": "simulator", "recipient": "ada", "template": "news"}
    batch = send_many([fields] * rows).batch
    stop = threading.Event()
    taken: list[tuple[float, int]] = []
    workers = [threading.Thread(target=claiming, args=(stop, taken)) for _ in range(4)]
    for worker in workers:
        worker.start()
    try:
        while sum(count for _, count in taken) < 200:
            time.sleep(0.005)
        if what == "hold":
            holds.hold("queue", "simulator.medium")
        elif what == "template":
            holds.hold("template", "news")
        else:
            getattr(batches, what)(batch)
        sending = Notification.objects.filter(status=Status.SENDING).count()
        answered = len(taken)
        while len(taken) < answered + 40:
            time.sleep(0.005)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert 200 <= sending < rows
    assert Notification.objects.filter(status=Status.SENDING).count() == sending
    assert Batch.objects.get().state == {"cancel": "cancelled", "pause": "paused"}.get(
        what, "active"
    )
