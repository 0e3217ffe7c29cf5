"""Celery's canvas over sends: the effect of each form, by one worker and one scheduler."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import celery
import pytest
import redis
from celery import chain, chord, group
from celery.exceptions import ChordError
from celery.result import AsyncResult

from notifications.core.errors import DeliveryFailed
from notifications.models import Notification, Status
from notifications.tasks import send_notification
from tests.integration.notifications.canvas import tasks
from tests.integration.notifications.canvas.tasks import calls, errback, fail, note
from tests.servers.processes import Processes

SIMULATED: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
REFUSED: Any = {**SIMULATED, "recipient": "ada?result=permanent&code=550"}


def send(reference: str = "", **changes: Any) -> Any:
    return send_notification.s(**{**SIMULATED, "reference": reference, **changes})


def row(reference: str) -> Notification:
    return Notification.objects.get(reference=reference)


@pytest.fixture
def running(processes: Processes) -> Any:
    """A worker that knows the application's tasks, and a scheduler."""
    processes.worker("-c", "2", "-I", tasks.__name__)
    return processes.beat()


def test_every_form_of_canvas_has_its_effect(
    running: Any, wait_until: Callable[..., Any], redis_client: redis.Redis
) -> None:
    result = {
        "link": send_notification.apply_async(kwargs=SIMULATED, link=note.s(what="link")),
        "links": send_notification.apply_async(
            kwargs=SIMULATED,
            link=[note.s(what="link 1"), note.si("x", what="link 2"), send("linked")],
        ),
        "link_error": send_notification.apply_async(
            kwargs=REFUSED, link=note.s(what="never"), link_error=note.s(what="link_error")
        ),
        "link_errors": send_notification.apply_async(
            kwargs=REFUSED, link_error=[note.s(what="one"), errback.s(), send("told of it")]
        ),
        "chain": chain(send(), note.s(what="chain"), send("end of chain"))(),
        "failing chain": chain(send(**REFUSED), send("never sent"))(),
        "group": group(send(f"group {n}") for n in range(3)).apply_async(),
        "chord": chord([send("header 1"), send("header 2"), note.si(what="part")])(
            note.s(what="chord")
        ),
        "body": chord([note.si(what="header only")], send("body"))(),
        "both": chord([send(), send()], send("both"))(),
        "group in chain": chain(send(), group(send(), send()), send("after a group"))(),
        "chord of chains": chord([send() | send("in chain"), send()], note.s(what="nested"))(),
        "chord in chord": chord([chord([send(), send()], send("inner")), send()], send("outer"))(),
        "failing chord": chord(
            [send(**REFUSED), send()], send("no body").on_error(note.s(what="chord error"))
        )(),
        "failing part": chord([chain(send(**REFUSED), send("x")), send()], note.s(what="never"))(),
        "with options": send("set").set(countdown=0.2, priority="high").apply_async(),
    }
    linked = send("sig.link")
    linked.link(note.s(what="sig.link"))
    linked.link_error(note.s(what="never"))
    result["linked to"] = linked.delay()
    failing_app_task = chain(fail.si(), send("after a failure"))()

    # Every result ends as Celery says, whoever asks.
    ids = [str(member.id) for member in result["group"].results]
    assert result["group"].get(timeout=60) == ids
    assert result["chain"].get(timeout=60) == str(row("end of chain").id)
    assert result["both"].get(timeout=60) == str(row("both").id)
    assert result["chord in chord"].get(timeout=60) == str(row("outer").id)
    assert result["group in chain"].get(timeout=60) == str(row("after a group").id)
    assert result["chord"].get(timeout=60) == "chord"
    assert result["chord of chains"].get(timeout=60) == "nested"
    with pytest.raises(DeliveryFailed):
        result["failing chain"].get(timeout=60)
    with pytest.raises(ChordError):
        result["failing chord"].get(timeout=60, follow_parents=False)
    with pytest.raises(ChordError):
        result["failing part"].get(timeout=60, follow_parents=False)
    with pytest.raises(ValueError, match="on purpose"):
        failing_app_task.get(timeout=60)
    assert AsyncResult(result["link"].id).get(timeout=60) == result["link"].id
    assert celery.current_app.AsyncResult(result["link_error"].id).state == "FAILURE"
    assert send_notification.AsyncResult(result["link"].id).state == "SUCCESS"

    # Each follower ran once, with the right argument.
    expected = [
        ("link", [result["link"].id]),
        ("link 1", [result["links"].id]),
        ("link 2", ["x"]),
        ("link_error", [result["link_error"].id]),
        ("one", [result["link_errors"].id]),
        ("errback", [result["link_errors"].id, "DeliveryFailed"]),
        ("sig.link", [result["linked to"].id]),
        ("header only", []),
        ("part", []),
    ]
    wait_until(lambda: all(call_ in calls(redis_client) for call_ in expected))
    wait_until(lambda: "chord error" in {what for what, _ in calls(redis_client)})
    chord_parts = [str(row("header 1").id), str(row("header 2").id), "part"]
    assert ("chord", [chord_parts]) in calls(redis_client)
    for reference in ("linked", "told of it", "body", "inner", "in chain", "set"):
        wait_until(lambda wanted=reference: row(wanted) and row(wanted).status == Status.SENT)
    assert row("set").priority == "high"
    names = Counter(what for what, _ in calls(redis_client))
    assert names.pop("never", 0) == 0
    assert set(names.values()) == {1}
    assert not Notification.objects.filter(
        reference__in=["never sent", "no body", "x", "after a failure"]
    ).exists()
    wait_until(lambda: not Notification.objects.filter(continuation__isnull=False).exists())
