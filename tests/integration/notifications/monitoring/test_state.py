"""What is read at a scrape: exact per queue, and cheap however much waits."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from notifications import metrics
from notifications.callbacks import receipts
from notifications.channels.base import Receipt
from notifications.core import attempt
from notifications.core.errors import IdempotencyConflict, UnknownArgument, UnknownChannel
from notifications.db import clock
from notifications.delivery import claims, outcomes
from notifications.metrics.series import series
from notifications.models import Notification, Suppression
from notifications.monitoring import overview, servers, waiting
from notifications.monitoring.state import StateCollector
from notifications.operations import holds
from notifications.queueing import allocation, backlog
from notifications.recipients import suppressions
from notifications.submission import send_many

HOUR = timedelta(hours=1)
NO_PROVIDER = "no_provider"


def value(name: str, **labels: Any) -> Any:
    return sum(
        sample.value
        for family in StateCollector().collect()
        for sample in family.samples
        if sample.name == f"notifications_{name}" and labels.items() <= sample.labels.items()
    )


@pytest.mark.parametrize(
    ("setting", "before", "harm", "why"),
    [
        ("maxmemory", "0", "1", "it is out of memory"),
        ("min-replicas-to-write", "0", "1", "it has too few replicas"),
    ],
)
def test_a_broker_that_answers_and_takes_no_message_is_down(
    db: None, client: Client, setting: str, before: str, harm: str, why: str
) -> None:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        broker.config_set(setting, harm)
        try:
            up = value("broker_up")
            ready = client.get("/healthz/ready").json()["checks"]["broker"]
            troubles = overview.read().troubles
        finally:
            broker.config_set(setting, before)
    assert up == 0
    assert ready.startswith(why)
    assert any(said.startswith(f"The broker takes no message, for {why}") for said in troubles)
    servers.forget()
    assert value("broker_up") == 1


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("webhook.low", "its key webhook.low is a string, not a list"),
        ("unacked", "its key unacked is a string, not a hash"),
        ("jobs", "its key jobs is a string, not a list"),
    ],
)
def test_a_broker_in_which_another_program_has_a_key_of_ours_is_down(
    db: None, client: Client, key: str, why: str, wait_until: Callable[..., Any]
) -> None:
    servers.forget()
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        broker.set(settings.REDIS_KEY_PREFIX + key, "of another program")
        try:
            up = value("broker_up")
            ready = client.get("/healthz/ready").json()["checks"]["broker"]
        finally:
            broker.delete(settings.REDIS_KEY_PREFIX + key)
    assert up == 0
    assert ready.startswith(why)
    wait_until(lambda: value("broker_up") == 1)


def test_the_backlog_is_counted_per_queue_with_its_age(
    accepted: Callable[..., Notification], age: Callable[..., None]
) -> None:
    for _ in range(3):
        age(accepted(priority="low"), 600)
    accepted(countdown=3600)
    assert value("due", priority="low") == 3
    assert value("due") == 3
    assert 590 < value("oldest_waiting_seconds", channel="simulator", priority="low") < 700


def test_age_counts_from_the_first_due_time_however_often_a_row_is_deferred(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    retried = accepted(recipient="ada?result=transient&retry_after=60", priority="high")
    deliver(retried)
    blocked = accepted(priority="high")
    for _ in range(2):
        outcomes.defer([(c, clock.now() + HOUR) for c in claims.claim([blocked.id])], NO_PROVIDER)
        Notification.objects.filter(id=blocked.id).update(status="queued")
    outcomes.defer([(c, clock.now() + HOUR) for c in claims.claim([blocked.id])], NO_PROVIDER)
    long_ago = clock.now() - timedelta(seconds=30)
    Notification.objects.filter(id=blocked.id).update(scheduled_at=long_ago)
    accepted(priority="high", countdown=3600)
    of = {"channel": "simulator", "priority": "high"}
    assert value("due", **of) == 0
    assert value("deferred", **of, state="retrying") == 1
    assert value("blocked", **of) == value("deferred", **of, state="resting") == 1
    assert 30 < value("oldest_waiting_seconds", **of) < 90
    queues = {queue.name: queue for queue in overview.read().queues}
    high = queues["simulator.high"]
    assert (high.due, high.retrying, high.blocked) == (0, 1, 1)


def test_how_long_rows_wait_is_asked_of_an_index_alone(
    accepted: Callable[..., Notification],
) -> None:
    """Were it not, a million rows that wait for their time would be read at each scrape."""
    with CaptureQueriesContext(connection) as asked:
        waiting.look(10)
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        (question,) = (
            query["sql"] for query in asked if Notification._meta.db_table in query["sql"]
        )
        cursor.execute("EXPLAIN " + question)
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")
    assert "using notification_deferred" in plan
    assert "Sort" not in plan


def test_a_row_in_a_workers_hands_is_not_backlog(
    accepted: Callable[..., Notification], age: Callable[..., None], deliver: Callable[..., Any]
) -> None:
    row = accepted()
    deliver(row)
    age(accepted(), 60)
    assert value("due") == 1
    waits = backlog.oldest([("simulator", "medium"), ("email", "high")])
    assert set(waits) == {("simulator", "medium")}


def test_a_scrape_asks_the_same_number_of_questions_whatever_waits(
    accepted: Callable[..., Notification], age: Callable[..., None]
) -> None:
    def questions() -> int:
        with CaptureQueriesContext(connection) as asked:
            list(StateCollector().collect())
        return len(asked)

    age(accepted(), 60)
    few = questions()
    for _ in range(40):
        age(accepted(), 60)
    # One question for each row would be forty more; what is kept for a second is read now and then.
    assert questions() < few + 20


@pytest.mark.parametrize(
    ("word", "kept"), [("rejected", "rejected"), ("", ""), ("550 5.1.1 <ada@x.org>", "other")]
)
def test_a_providers_own_words_are_no_label(word: str, kept: str) -> None:
    assert metrics.reason(word) == kept


STAGES = ("expire", "suppress", "render", "choose", "prepare", "send", "record")


@pytest.mark.parametrize("stage", STAGES)
def test_a_fault_of_ours_is_counted_by_its_stage(stage: str) -> None:
    reason = attempt.error_in(stage)
    assert metrics.reason(reason) == reason


@pytest.mark.parametrize("reason", Suppression.Reason.values)
def test_a_suppressed_one_is_counted_by_its_reason(
    accepted: Callable[..., Notification], deliver: Callable[..., Any], reason: Any
) -> None:
    before = counted(series().ended, status="suppressed", reason=reason)
    row = accepted()
    suppressions.suppress("simulator", "ada", reason)
    deliver(row)
    assert counted(series().ended, status="suppressed", reason=reason) == before + 1


def test_the_share_and_the_weight_of_each_queue_are_told(took: Callable[..., None]) -> None:
    took({"simulator.low": (3.0, 6), "jobs": (1.0, 1)})
    allocation.override("email.low", 3)
    assert value("queue_slot_share", queue="simulator.low") == 0.75
    assert value("queue_slot_share", queue="jobs") == 0.25
    assert value("queue_slot_share", queue="email.low") == 0
    assert value("queue_weight", queue="email.low", source="operator") == 3
    assert value("queue_weight", queue="email.high", source="settings") == 16


def test_slot_time_is_not_known_without_a_redis_and_nothing_else_is_missed(
    db: None, settings: Settings
) -> None:
    settings.REDIS_URL = ""
    assert value("queue_slot_share") == 0
    assert value("queue_weight", queue="email.high") == 16


def counted(family: Any, **labels: Any) -> Any:
    return sum(
        sample.value
        for metric in family.collect()
        for sample in metric.samples
        if sample.name.endswith(("_total", "_count")) and labels.items() <= sample.labels.items()
    )


def test_a_receipt_is_counted_once_however_often_it_comes(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    families = series()
    before = counted(families.receipts), counted(families.due_to_delivered)
    row = accepted()
    deliver(row)
    told = Receipt("delivered", notification_id=row.id)
    for _ in range(2):
        receipts.take([told], account="simulator", channel="simulator")
    assert counted(families.receipts) == before[0] + 1
    assert counted(families.due_to_delivered) == before[1] + 1


def test_a_double_in_a_batch_is_counted_as_a_double_alone(transactional_db: None) -> None:
    families = series()
    rows = [{"recipient": "ada", "idempotency_key": f"key {n}"} for n in range(3)]
    send_many(rows, channel="simulator", body="x")
    before = counted(families.accepted), counted(families.doubles)
    send_many([*rows, {"recipient": "bob"}], channel="simulator", body="x")
    assert counted(families.accepted) == before[0] + 1
    assert counted(families.doubles) == before[1] + 3


def test_doubles_refusals_and_waits_are_counted(accepted: Callable[..., Notification]) -> None:
    families = series()
    names = ("UnknownChannel", "UnknownArgument", "IdempotencyConflict")
    before = (
        counted(families.doubles),
        *(counted(families.refused, error=name) for name in names),
    )
    for _ in range(2):
        accepted(idempotency_key="once")
    with pytest.raises(UnknownChannel):
        accepted(channel="pigeon")
    with pytest.raises(UnknownArgument):
        accepted(colour="red")
    with pytest.raises(IdempotencyConflict):
        accepted(idempotency_key="once", body="Another")
    rows = [{"recipient": "ada"}, {"recipient": "ada", "colour": "red"}]
    send_many(rows, channel="simulator", body="x")
    assert counted(families.doubles) == before[0] + 1
    assert counted(families.refused, error="UnknownChannel") == before[1] + 1
    assert counted(families.refused, error="UnknownArgument") == before[2] + 2
    assert counted(families.refused, error="IdempotencyConflict") == before[3] + 1


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no infinity")
def test_a_hold_that_cannot_be_read_is_named_and_hides_no_other() -> None:
    for scope, value in (("channel", "sms"), ("channel", "email")):
        holds.hold(scope, value, reason="a test")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_hold SET created_at = 'infinity' WHERE value = 'sms' RETURNING id"
        )
        ((key,),) = cursor.fetchall()
    said = overview.read().held
    assert len(said) == 2
    assert any("email" in line for line in said)
    assert f"The hold {key} is in force; its row cannot be read." in said
