"""Of steps that are claimed, and runs that are started, at the same moment."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connections, transaction

from notifications.chains import save_chain, send_chain
from notifications.core import errors
from notifications.db import clock
from notifications.delivery import claims, pipeline
from notifications.models import ChainRun, Notification, Status
from tests.integration.notifications.chains.running import chain, rows, states, step

pytestmark = pytest.mark.django_db(transaction=True)

Age = Callable[..., None]


def deliver_step(runs: list[Any], number: int) -> None:
    """Deliver the step with this number of each run, in a thread."""
    try:
        for run in runs:
            row = Notification.objects.get(chain_run=run.id, chain_step=number)
            pipeline.deliver(claims.claim([row.id]), worker="test")
    finally:
        connections.close_all()


def test_of_steps_that_are_claimed_at_the_same_moment_exactly_one_is_sent(age: Age) -> None:
    runs = [send_chain(chain(step("ada", 60), step("bob", 60), step("eve"))) for _ in range(25)]
    for started in runs:
        for row in rows(started):
            age(row)

    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(partial(deliver_step, runs), (3, 2, 1)))
        waiting = Notification.objects.filter(status=Status.SCHEDULED)
        waiting.update(due_at=clock.now())
    for started in runs:
        assert sorted(states(started)) == [
            *[("cancelled", "chain_reached")] * 2,
            ("sent", ""),
        ], states(started)


def test_whoever_claims_a_step_first_the_first_one_goes_first(age: Age) -> None:
    people = (step("ada", 60), step("bob", 60), step("eve"))
    runs = [send_chain(chain(*people, stop_on="delivered")) for _ in range(25)]
    for started in runs:
        for row in rows(started):
            age(row)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(partial(deliver_step, runs), (3, 2, 1)))
    for started in runs:
        waits = ("scheduled", "chain_waits")
        assert states(started) == [("sent", ""), waits, waits], states(started)


def test_a_key_stands_for_one_run_and_a_transaction_undone_starts_none() -> None:
    save_chain("code", [step("ada", 60), step("bob")])
    first = send_chain("code", idempotency_key="k", metadata={"a": 1})
    again = send_chain("code", idempotency_key="k", metadata={"a": 1}, countdown=5)
    assert (first.created, again.created, again.id) == (True, False, first.id)
    assert again.notifications == first.notifications == [row.id for row in rows(first)]
    with pytest.raises(errors.IdempotencyConflict) as conflict:
        send_chain("code", idempotency_key="k", metadata={"a": 2})
    assert conflict.value.field == "idempotency_key"
    with transaction.atomic():
        send_chain("code", idempotency_key="other")
        transaction.set_rollback(True)
    assert ChainRun.objects.count() == 1
    assert Notification.objects.count() == 2

    def start(_: int) -> bool:
        try:
            return send_chain("code", idempotency_key="at once").created
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(start, range(4))) == [False, False, False, True]
    assert Notification.objects.count() == 4
