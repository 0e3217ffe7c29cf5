"""Deliveries in the caller's own process: eager mode, ``apply`` and a plain call."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import chain, chord, current_app, group
from celery.exceptions import TimeoutError as NotReady
from django.db import transaction

from notifications.core.errors import DeliveryFailed, TransientError
from notifications.models import Notification, Status
from notifications.submission import send, send_many
from notifications.tasks import send_notification

SIMULATED: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
DOWN = {**SIMULATED, "recipient": "ada?result=transient&times=9"}
REFUSED = {**SIMULATED, "recipient": "ada?result=permanent"}


@pytest.fixture(params=[False, True], ids=["silent", "propagates"])
def propagates(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Any]:
    """Eager mode, and whether it propagates errors."""
    conf = current_app.conf
    before = conf.task_always_eager, conf.task_eager_propagates
    conf.task_always_eager, conf.task_eager_propagates = True, request.param
    yield request.param
    conf.task_always_eager, conf.task_eager_propagates = before


FORMS = {
    "send": lambda fields: send(**fields).id,
    "apply_async": lambda fields: send_notification.apply_async(kwargs=fields).id,
    "delay": lambda fields: send_notification.delay(**fields).id,
    "a signature": lambda fields: send_notification.s(**fields).delay().id,
}


def status(id_: Any) -> str:
    return Notification.objects.get(id=id_).status


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_eager_forms_deliver_on_commit_and_nothing_after_a_rollback(
    propagates: Any, form: Any
) -> None:
    assert status(form(SIMULATED)) == Status.SENT
    with transaction.atomic():
        id_ = form(SIMULATED)
        assert status(id_) == Status.QUEUED
    assert status(id_) == Status.SENT
    with transaction.atomic():
        form({**SIMULATED, "reference": "rolled back"})
        transaction.set_rollback(True)
    assert not Notification.objects.filter(reference="rolled back").exists()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    ("fields", "error", "end"),
    [(DOWN, TransientError, Status.SCHEDULED), (REFUSED, DeliveryFailed, Status.FAILED)],
    ids=["down", "refused"],
)
def test_eager_errors_are_raised_where_celery_is_told_to(
    propagates: Any, form: Any, fields: Any, error: Any, end: Any
) -> None:
    if propagates:
        with pytest.raises(error):
            form(fields)
    else:
        form(fields)
    assert Notification.objects.get().status == end


def test_an_eager_batch_is_delivered_whole(propagates: Any) -> None:
    submitted = send_many([SIMULATED] * 1000)
    assert Notification.objects.filter(batch=submitted.batch, status=Status.SENT).count() == 1000


def test_an_eager_canvas_sends_each_once(propagates: Any) -> None:
    def sig(reference: Any) -> Any:
        return send_notification.s(**SIMULATED, reference=reference)

    chain(sig("1"), sig("2"))()
    assert len(group(sig("3"), sig("4"))().get()) == 2
    chord([sig("5"), sig("6")])(sig("7"))
    send_notification.apply_async(kwargs=SIMULATED, link=sig("8"))
    with transaction.atomic():
        chain(sig("9"), sig("10"))()
    sent = Notification.objects.filter(status=Status.SENT).exclude(reference="")
    assert sorted(map(int, sent.values_list("reference", flat=True))) == list(range(1, 11))


def test_apply_delivers_here_and_its_result_waits_for_nobody(transactional_db: None) -> None:
    result = send_notification.apply(kwargs=SIMULATED)
    assert (result.state, result.get()) == ("SUCCESS", result.id)
    waiting = send_notification.apply(kwargs=DOWN)
    assert waiting.state == "RETRY"
    with pytest.raises(NotReady):
        waiting.get()
    with pytest.raises(DeliveryFailed):
        send_notification.s(**REFUSED).apply().get()
    with pytest.raises(DeliveryFailed):
        send_notification.apply(kwargs=REFUSED, throw=True)


def test_a_plain_call_delivers_here_and_gives_the_id(transactional_db: None) -> None:
    assert status(send_notification(**SIMULATED)) == Status.SENT
    with pytest.raises(TransientError):
        send_notification(**DOWN)
    with pytest.raises(DeliveryFailed):
        send_notification(**REFUSED)
    with transaction.atomic():
        send_notification(**SIMULATED, reference="rolled back")
        transaction.set_rollback(True)
    assert not Notification.objects.filter(reference="rolled back").exists()
