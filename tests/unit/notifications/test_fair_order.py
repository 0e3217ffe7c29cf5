"""The order in which queues are asked: a deterministic model of workers and backlogs."""

from collections import Counter

import pytest

from notifications.fair_order import REMEMBERED, Bulkheads, FairOrder, Running

WEIGHTS = {"email.high": 16, "email.medium": 4, "email.low": 1, "sms.low": 1}


def order(running=(), slots=8, spent=None) -> FairOrder:
    fair = FairOrder(
        weights=lambda: WEIGHTS,
        spent=spent or dict,
        running=lambda: list(running),
        slots=lambda: slots,
        slow=1,
        clock=lambda: 0.0,
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


def test_the_most_urgent_queue_is_asked_first():
    assert order().consume(4)[0] == "email.high"


def test_shares_follow_the_weights_while_all_have_work():
    flood = {"email.high": 9999, "email.medium": 9999, "email.low": 9999}
    served = serve(order(), flood, 2100)
    assert served["email.high"] == pytest.approx(1600, abs=2)
    assert served["email.medium"] == pytest.approx(400, abs=2)
    assert served["email.low"] == pytest.approx(100, abs=2)


def test_low_gets_its_share_under_a_flood_of_high():
    served = serve(order(), {"email.high": 9999, "email.low": 9999}, 170)
    assert served["email.low"] == pytest.approx(10, abs=1)


def test_no_slot_idles_while_any_queue_has_work():
    assert serve(order(), {"email.low": 50}, 50) == {"email.low": 50}


def test_an_urgent_message_overtakes_a_backlog_at_once():
    fair = order()
    serve(fair, {"email.low": 500, "email.medium": 500}, 300)
    assert fair.consume(4)[0] == "email.high"


def test_a_queue_that_was_idle_has_saved_up_nothing():
    fair = order()
    serve(fair, {"email.low": 1000}, 1000)
    served = serve(fair, {"email.low": 999, "sms.low": 999}, 100)
    assert served["sms.low"] == pytest.approx(50, abs=1)


def test_shares_are_of_time_where_messages_take_unequally_long():
    took = {"email.high": 0.1, "email.low": 2.0}
    spent: dict[str, float] = {}

    def take_spent():
        taken = dict(spent)
        spent.clear()
        return taken

    fair = order(spent=take_spent)
    total = Counter[str]()
    for _ in range(20_000):
        queue = next(q for q in fair.consume(4) if q in took)
        fair.rotate(queue)
        spent[queue] = took[queue]
        total[queue] += int(took[queue] * 10)
    assert total["email.high"] / total["email.low"] == pytest.approx(16, rel=0.1)


def test_queues_that_are_no_longer_consumed_are_left_out():
    fair = order()
    fair.update(["sms.low"])
    assert fair.consume(1) == ["sms.low"]


HANGING = Running("sms.low", seconds=5)
QUICK = Running("email.low", seconds=0.1)


@pytest.mark.parametrize(
    ("running", "slots", "closed"),
    [
        ([], 2, set()),
        ([QUICK, QUICK], 2, set()),
        ([HANGING], 2, {"sms"}),
        ([QUICK] * 5 + [HANGING], 8, set()),
        ([QUICK] * 5 + [HANGING] * 2, 8, {"sms"}),
        ([HANGING, Running("push.low", 5)], 8, {"sms", "push"}),
    ],
)
def test_channels_with_a_hanging_provider_hold_a_share_of_the_slots_at_most(running, slots, closed):
    assert Bulkheads(slow=1).closed(running, slots, now=0) == closed


def test_a_slow_channel_is_remembered_for_a_while():
    bulkheads = Bulkheads(slow=1)
    bulkheads.closed([HANGING], 2, now=0)
    young = Running("sms.low", seconds=0.1)
    assert bulkheads.closed([young], 2, now=REMEMBERED - 1) == {"sms"}
    assert bulkheads.closed([young], 2, now=REMEMBERED + 1) == set()


def test_a_slow_channel_alone_still_gets_a_slot():
    bulkheads = Bulkheads(slow=1)
    bulkheads.closed([HANGING], 2, now=0)
    assert bulkheads.closed([QUICK], 2, now=1) == set()


def test_the_order_leaves_out_a_channel_that_must_wait():
    assert "sms.low" not in order(running=[HANGING], slots=2).consume(4)
