"""Runs of chains whose category is throttled: a run is one message."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from notifications.chains import send_chain
from notifications.models import Throttle, ThrottleUse
from notifications.recipients import categories, throttles
from notifications.submission import save_recipient
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.integration.notifications.chains.running import rows, states

pytestmark = pytest.mark.django_db(transaction=True)

STEPS = [
    {"channel": "simulator", "body": "B", "wait": 60},
    {"channel": "email", "subject": "S", "body": "B", "wait": 60},
    {"channel": "email", "subject": "S", "body": "B", "recipient": "chief@example.org"},
]
WAITS = ("scheduled", "throttled")


@pytest.fixture(autouse=True)
def _ada() -> None:
    categories.forget()
    throttles.forget()
    addresses = {"simulator": "ada", "email": "ada@example.org"}
    save_recipient("ada", addresses=addresses)


def throttle(rest: str, **more: Any) -> None:
    throttles.save(Throttle(category="product", limit=1, period=3600, rest=rest, **more))


def start() -> Any:
    chain = {"steps": STEPS, "stop_on": "sent"}
    return send_chain(chain, to={"recipient": "ada"}, category="product")


def test_all_steps_to_a_recipient_have_one_place(deliver: Callable[..., Any]) -> None:
    throttle("wait")
    first, second = start(), start()
    assert states(first) == [("queued", ""), ("scheduled", ""), ("scheduled", "")]
    # The chief, another recipient, has had one notification by then.
    assert states(second) == [WAITS, ("scheduled", ""), WAITS]
    assert [*ThrottleUse.objects.values_list("used", flat=True)] == [2, 2]
    held, follows, _ = rows(second)
    assert held.due_at is not None
    assert held.due_at - held.created_at > timedelta(minutes=59)
    type(follows).objects.filter(pk=follows.pk).update(due_at=follows.created_at)
    deliver(follows)
    _, follows, _ = rows(second)
    assert (follows.status, follows.reason) == ("scheduled", "chain_waits")
    assert follows.due_at is not None
    assert follows.due_at > held.due_at


def test_a_run_that_has_no_place_is_dropped_whole() -> None:
    throttle("drop")
    first, second = start(), start()
    assert states(first) == [("queued", ""), ("scheduled", ""), ("scheduled", "")]
    assert states(second) == [("suppressed", "throttled")] * 3
    assert {row.throttle for row in rows(second)} == {"1 in 1h"}
    assert [*ThrottleUse.objects.values_list("used", flat=True)] == [1, 1]


def test_a_step_goes_into_no_digest_and_waits(deliver: Callable[..., Any]) -> None:
    made = Template.objects.create(name="all-news", channel="simulator")
    publish(create_version(made, {"body": "{{ count }} news"}))
    throttle("digest", channel="simulator", template="all-news")
    start()
    second = start()
    assert states(second) == [WAITS, ("scheduled", ""), ("scheduled", "")]
