"""The order in which queues are asked: a deterministic model of workers and backlogs."""

from collections import Counter
from typing import Any

import pytest

from notifications.queueing.fair_order import (
    FairOrder,
    JobsInHand,
    JobsPlace,
    Running,
    jobs_place,
)

WEIGHTS = {"email.high": 16, "email.medium": 4, "email.low": 1, "sms.low": 1, "jobs": 4}


def order(running: Any = (), slots: int = 8, spent: Any = None) -> FairOrder:
    fair = FairOrder(
        weights=lambda: WEIGHTS,
        spent=spent or dict,
        running=lambda: list(running),
        slots=lambda: slots,
        jobs_share=0.5,
        can_grow=lambda: True,
    )
    fair.update(WEIGHTS)
    return fair


def serve(fair: FairOrder, backlog: dict[str, int], times: int) -> Counter[str]:
    """Let a worker take so many messages, as BRPOP would: the first queue that has one."""
    left, served = dict(backlog), Counter[str]()
    for _ in range(times):
        queue = next((q for q in fair.consume(len(WEIGHTS)) if left.get(q)), None)
        if queue is None:
            break
        left[queue] -= 1
        served[queue] += 1
        fair.rotate(queue)
    return served


def test_the_most_urgent_queue_is_asked_first() -> None:
    assert order().consume(5)[0] == "email.high"


def test_shares_follow_the_weights_while_all_have_work() -> None:
    flood = {"email.high": 9999, "email.medium": 9999, "email.low": 9999}
    served = serve(order(), flood, 2100)
    assert served["email.high"] == pytest.approx(1600, abs=2)
    assert served["email.medium"] == pytest.approx(400, abs=2)
    assert served["email.low"] == pytest.approx(100, abs=2)


def test_low_gets_its_share_under_a_flood_of_high() -> None:
    served = serve(order(), {"email.high": 9999, "email.low": 9999}, 170)
    assert served["email.low"] == pytest.approx(10, abs=1)


def test_no_slot_idles_while_any_queue_has_work() -> None:
    assert serve(order(), {"email.low": 50}, 50) == {"email.low": 50}


def test_an_urgent_message_overtakes_a_backlog_at_once() -> None:
    fair = order()
    serve(fair, {"email.low": 500, "email.medium": 500}, 300)
    assert fair.consume(5)[0] == "email.high"


def test_a_queue_that_was_idle_has_saved_up_nothing() -> None:
    fair = order()
    serve(fair, {"email.low": 1000}, 1000)
    served = serve(fair, {"email.low": 999, "sms.low": 999}, 100)
    assert served["sms.low"] == pytest.approx(50, abs=1)


def test_shares_are_of_time_where_messages_take_unequally_long() -> None:
    took = {"email.high": 0.1, "email.low": 2.0}
    spent: dict[str, float] = {}

    def take_spent() -> dict[str, float]:
        taken = dict(spent)
        spent.clear()
        return taken

    fair = order(spent=take_spent)
    total = Counter[str]()
    for _ in range(20_000):
        queue = next(q for q in fair.consume(5) if q in took)
        fair.rotate(queue)
        spent[queue] = took[queue]
        total[queue] += int(took[queue] * 10)
    assert total["email.high"] / total["email.low"] == pytest.approx(16, rel=0.1)


def test_queues_that_are_no_longer_consumed_are_left_out() -> None:
    fair = order()
    fair.update(["sms.low"])
    assert fair.consume(1) == ["sms.low"]


IN_TURN, LAST, LEFT_OUT = JobsPlace.IN_TURN, JobsPlace.LAST, JobsPlace.LEFT_OUT


@pytest.mark.parametrize(
    ("jobs", "slots", "share", "place"),
    [
        (0, 4, 0.5, IN_TURN),
        (1, 4, 0.5, IN_TURN),
        (2, 4, 0.5, LAST),
        (3, 4, 0.5, LAST),
        (4, 4, 0.5, LEFT_OUT),
        (0, 2, 0.5, IN_TURN),
        (1, 2, 0.5, LAST),
        (2, 2, 0.5, LEFT_OUT),
        (0, 1, 0.5, IN_TURN),
        (1, 1, 0.5, LEFT_OUT),
        (0, 4, 0.0, IN_TURN),
        (1, 4, 0.0, LAST),
        (3, 4, 1.0, IN_TURN),
    ],
)
def test_jobs_are_asked_in_turn_up_to_their_share_and_last_beyond_it(
    jobs: int, slots: int, share: float, place: Any
) -> None:
    assert jobs_place(JobsInHand(jobs, long=0), slots=slots, share=share) is place


@pytest.mark.parametrize(
    ("jobs", "long", "slots", "place"),
    [
        (2, 1, 4, LAST),
        (2, 2, 4, IN_TURN),
        (3, 2, 4, LAST),
        (3, 3, 4, LAST),
        (4, 4, 4, LEFT_OUT),
        (1, 1, 2, IN_TURN),
        (2, 1, 2, LEFT_OUT),
        (1, 1, 1, LEFT_OUT),
    ],
)
def test_one_more_job_is_asked_in_turn_while_long_ones_hold_the_whole_share(
    jobs: int, long: int, slots: int, place: Any
) -> None:
    assert jobs_place(JobsInHand(jobs, long), slots=slots, share=0.5) is place


@pytest.mark.parametrize(
    ("jobs", "slots", "place"),
    [
        (0, 1, IN_TURN),
        (0, 2, IN_TURN),
        (1, 2, LEFT_OUT),
        (2, 4, LAST),
        (3, 4, LEFT_OUT),
    ],
)
def test_jobs_leave_a_slot_to_notifications_where_the_pool_cannot_grow(
    jobs: int, slots: int, place: Any
) -> None:
    in_hand = JobsInHand(jobs, long=jobs)
    assert jobs_place(in_hand, slots=slots, share=0.5, can_grow=False) is place


LONG_JOB = Running("jobs", seconds=40)
SHORT_JOB = Running("jobs", seconds=0.1)


@pytest.mark.parametrize("held", [1, 2, 3])
def test_no_slot_idles_beside_a_waiting_job(held: int) -> None:
    assert serve(order(running=[LONG_JOB] * held, slots=4), {"jobs": 1}, 1) == {"jobs": 1}


def test_jobs_beyond_their_share_come_after_all_notifications() -> None:
    backlog = {"jobs": 9, "email.low": 5, "sms.low": 5}
    served = serve(order(running=[SHORT_JOB] * 2, slots=4), backlog, 10)
    assert served == {"email.low": 5, "sms.low": 5}
