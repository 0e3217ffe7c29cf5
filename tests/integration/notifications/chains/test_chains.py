"""Chains: by one way after the other, until one reaches."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import transaction

from notifications.chains import send_chain, story
from notifications.core.attempt import Outcome, Report, Result
from notifications.core.reasons import Reason
from notifications.db import clock
from notifications.delivery import chain_steps, claims, outcomes
from notifications.models import ChainRun, Notification, ProviderAccount, Status
from notifications.monitoring import timeline
from notifications.monitoring.diagnosis import delivery as diagnosis
from notifications.operations import holds
from notifications.providers import accounts
from tests.integration.notifications.api.conftest import Caller, call, caller
from tests.integration.notifications.chains.running import begun_earlier, chain, rows, states, step

__all__ = ["call", "caller"]

pytestmark = pytest.mark.django_db(transaction=True)

Deliver = Callable[..., Any]
Age = Callable[..., None]


def test_a_step_goes_only_if_the_one_before_has_not_reached(deliver: Deliver, age: Age) -> None:
    started = send_chain(chain(step("ada", 60), step("bob")))
    first, second = rows(started)
    assert (first.status, second.status) == ("queued", "scheduled")
    assert second.due_at
    assert abs(second.due_at - first.created_at - timedelta(seconds=60)) < (timedelta(seconds=1))
    deliver(first)
    age(second)
    assert deliver(second) == []
    assert states(started) == [("sent", ""), ("cancelled", Reason.CHAIN_REACHED)]
    assert rows(started)[1].attempt_count == 0


def test_a_step_that_fails_has_the_next_one_sent_at_once(deliver: Deliver) -> None:
    started = send_chain(
        chain(step("ada?result=permanent", 3600), step("bob", 60), step("eve"), stop_on="delivered")
    )
    deliver(rows(started)[0])
    now = clock.now()
    _, second, third = rows(started)
    assert second.due_at is not None
    assert second.due_at <= now
    assert third.due_at is not None
    assert third.due_at <= now + timedelta(seconds=60)
    deliver(second)
    assert states(started) == [("failed", "rejected"), ("sent", ""), ("scheduled", "")]


def test_a_receipt_that_comes_in_time_ends_the_chain_and_one_of_failure_moves_it_on(
    deliver: Deliver, age: Age
) -> None:
    delivered = send_chain(chain(step("ada", 60), step("bob"), stop_on="delivered"))
    bounced = send_chain(chain(step("ada", 60), step("bob"), stop_on="delivered"))
    for started in (delivered, bounced):
        deliver(rows(started)[0])
    assert outcomes.confirm_delivered(rows(delivered)[0].id)
    (sent,) = claims.sent([rows(bounced)[0].id])
    outcome = Outcome(Result.PERMANENT, reason="bounced")
    assert outcomes.confirm_failed(Report(sent, outcome, "x", started_at=clock.now()))
    age(rows(delivered)[1])
    for started in (delivered, bounced):
        deliver(rows(started)[1])
    assert states(delivered) == [("delivered", ""), ("cancelled", "chain_reached")]
    assert states(bounced) == [("failed", "bounced"), ("sent", "")]


def test_the_wait_counts_from_the_sending_where_that_was_late(deliver: Deliver, age: Age) -> None:
    started = send_chain(chain(step("ada", 60), step("bob"), stop_on="delivered"))
    first, second = rows(started)
    age(second)  # nobody sent anything for an hour
    deliver(first)
    deliver(second)
    waits = rows(started)[1]
    assert (waits.status, waits.reason, waits.attempt_count) == ("scheduled", "chain_waits", 0)
    sent_at = rows(started)[0].sent_at
    assert sent_at is not None
    assert waits.due_at == sent_at + timedelta(seconds=60)
    Notification.objects.filter(pk=first.pk).update(sent_at=sent_at - timedelta(seconds=61))
    age(waits)
    deliver(waits)
    assert states(started) == [("sent", ""), ("sent", "")]


def test_steps_that_are_due_late_go_one_after_the_other(deliver: Deliver, age: Age) -> None:
    people = (step("ada", 60), step("bob", 60), step("eve", 60), step("joe"))
    started = send_chain(chain(*people, stop_on="delivered"))
    for row in rows(started):  # a hold, or nobody there, for an hour
        age(row)
    now = clock.now()
    deliver(rows(started)[2])  # none before it has begun
    third = rows(started)[2]
    assert (third.status, third.reason, third.attempt_count) == ("scheduled", "chain_waits", 0)
    assert third.due_at is not None
    assert third.due_at >= now + timedelta(seconds=120)
    age(third)
    for number in range(4):
        deliver(*reversed(rows(started)))
        begun = [row.chain_step for row in rows(started) if row.status == "sent"]
        assert begun == list(range(1, number + 2))
        waiting = rows(started)[number + 1 :]
        assert [row.attempt_count for row in waiting] == [0] * len(waiting)
        times = [row.due_at for row in waiting if row.due_at is not None]
        assert times == sorted(times)
        gaps = [later - earlier for earlier, later in pairwise([clock.now(), *times])]
        assert all(gap > timedelta(seconds=55) for gap in gaps)
        begun_earlier(started, 61)
        for row in waiting:
            age(row)


def test_a_step_that_hangs_is_waited_for_as_long_as_its_wait(deliver: Deliver, age: Age) -> None:
    started = send_chain(chain(step("ada", 60), step("bob", 60), step("eve")))
    first, second, third = rows(started)
    age(second)
    age(third)
    (hangs,) = claims.claim([first.id])
    deliver(third, second)  # the first one is claimed, and nobody has let it through yet
    assert [row.status for row in rows(started)] == ["sending", "scheduled", "scheduled"]
    assert not chain_steps.plan([hangs]).defer
    begun_at = ChainRun.objects.get(pk=started.id).going_at
    assert begun_at is not None
    age(second)
    age(third)
    deliver(third, second)
    _, second, third = rows(started)
    assert second.due_at == begun_at + timedelta(seconds=60)
    assert third.due_at == begun_at + timedelta(seconds=120)
    begun_earlier(started, 61)
    age(second)
    age(third)
    deliver(third, second)
    assert states(started) == [("sending", ""), ("sent", ""), ("cancelled", "chain_reached")]


def test_the_retry_of_an_earlier_step_waits_while_a_later_one_is_with_a_provider(age: Age) -> None:
    started = send_chain(chain(step("ada", 60), step("bob"), stop_on="delivered"))
    first, second = rows(started)
    age(second)
    chain_steps.plan(claims.claim([first.id]))
    Notification.objects.filter(pk=first.pk).update(status=Status.SCHEDULED, due_at=clock.now())
    begun_earlier(started, 61)
    assert not chain_steps.plan(claims.claim([second.id])).defer
    later = chain_steps.plan(claims.claim([first.id]))
    assert [claim.id for claim, _ in later.defer[Reason.CHAIN_WAITS]] == [first.id]
    assert ChainRun.objects.get(pk=started.id).going == 2


def test_a_step_that_was_moved_goes_at_once_where_the_one_before_fails(
    deliver: Deliver, age: Age
) -> None:
    started = send_chain(chain(step("ada?result=permanent", 60), step("bob", 60), step("eve")))
    first, second, _ = rows(started)
    age(second)
    deliver(second)
    assert states(started)[1] == ("scheduled", "chain_waits")
    deliver(first)
    deliver(rows(started)[1])
    assert [row.status for row in rows(started)] == ["failed", "sent", "cancelled"]


@pytest.mark.parametrize("how", ["sent", "delivered", "read"])
def test_where_one_has_reached_no_other_goes_on_waiting(
    deliver: Deliver, age: Age, how: str
) -> None:
    started = send_chain(chain(step("ada", 60), step("bob", 60), step("eve"), stop_on=how))
    first, second, _ = rows(started)
    (claim,) = claims.claim([first.id])
    chain_steps.plan([claim])
    wait = Outcome(Result.TRANSIENT, code="429", retry_after=36000)
    outcomes.record([Report(claim, wait, "x", started_at=clock.now())], worker="test")
    Notification.objects.filter(pk=first.pk).update(scheduled_at=clock.now() - timedelta(hours=1))
    assert "delivery.late" in [finding.id for finding in diagnosis.backlog()]
    begun_earlier(started, 61)
    age(second)
    deliver(second)
    if how != "sent":
        with transaction.atomic():
            outcomes.confirm_delivered(second.id)
            transaction.set_rollback(True)  # as if the process had died before the commit
        assert [row.status for row in rows(started)] == ["scheduled", "sent", "scheduled"]
        outcomes.confirm_delivered(second.id)
    if how == "read":
        assert rows(started)[0].status == "scheduled"
        outcomes.confirm_read(second.id)
    ended = [rows(started)[at] for at in (0, 2)]
    assert [(row.status, row.reason) for row in ended] == [("cancelled", "chain_reached")] * 2
    assert [row.due_at for row in ended] == [None, None]
    assert all(row.finished_at for row in ended)
    assert list(diagnosis.backlog()) == []


def test_a_delivery_window_keeps_the_order_and_the_waits(call: Caller, deliver: Deliver) -> None:
    opens = clock.now() + timedelta(hours=5)
    hours = {"begins": f"{opens:%H:%M}", "ends": f"{opens + timedelta(hours=6):%H:%M}"}
    window = {"category": "billing", **hours, "timezone": "UTC", "spread": 120}
    assert call("POST", "/delivery-windows", window).status_code == 201
    body = chain(step("ada", 60), step("bob", 90), step("eve", 60), step("joe"))
    firsts = set()
    for _ in range(5):
        run = call.ok("POST", "/chain-runs", {"chain": body, "category": "billing"})
        due = [datetime.fromisoformat(step["due_at"]) for step in run["steps"]]
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(due)]
        assert gaps == [60, 90, 60]
        firsts.add(due[0])
    assert len(firsts) == 5  # each run has its own place


def test_a_step_whose_account_is_held_is_not_waited_for_and_its_story_says_so(
    deliver: Deliver, age: Age
) -> None:
    account = {"channel": "simulator", "kind": "simulator"}
    ProviderAccount.objects.create(name="loft1", **account)
    ProviderAccount.objects.create(name="loft2", **account)
    accounts.forget()
    holds.hold("account", "loft1", reason="their bill is not paid")
    first = step("ada", 60, account="loft1")
    started = send_chain(chain(first, step("bob", account="loft2")))
    deliver(rows(started)[0])
    assert states(started)[0] == ("scheduled", "account_held")
    (run,) = ChainRun.objects.filter(pk=started.id)
    assert story.of(run).steps[0].part.reason == "account_held"
    begun_earlier(started, 61)
    age(rows(started)[1])
    deliver(rows(started)[1])
    held, reached = rows(started)
    assert [(row.status, row.reason) for row in (held, reached)] == [
        ("cancelled", "chain_reached"),
        ("sent", ""),
    ]
    told = [event for event in timeline.of(held) if "account_held" in event.title]
    assert [(event.title, event.detail) for event in told] == [
        (
            "account_held: the account loft1 was held, and was not waited for",
            "their bill is not paid",
        )
    ]
    assert not [event for event in timeline.of(reached) if "account_held" in event.title]
