"""One notification's way, through real worker and scheduler processes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from celery import chain, group

from notifications.models import FailedDelivery, Notification, Status
from notifications.tasks import send_notification
from tests.servers.processes import Processes
from tests.servers.smtp import SmtpServer

SIMULATED: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}


def reaches(id_: Any, status: str) -> Callable[..., Notification | None]:
    return lambda: Notification.objects.filter(id=id_, status=status).first()


@pytest.fixture
def worker(processes: Processes) -> Any:
    return processes.worker()


@pytest.fixture
def beat(processes: Processes) -> Any:
    return processes.beat()


def test_apply_async_persists_first_and_a_worker_sends_it(
    worker: Any, wait_until: Callable[..., Any]
) -> None:
    result = send_notification.apply_async(kwargs=SIMULATED, priority="high")
    row = Notification.objects.get(id=result.id)
    assert (row.priority, row.channel) == ("high", "simulator")
    sent = wait_until(reaches(result.id, Status.SENT))
    assert [(a.number, a.result) for a in sent.attempts.all()] == [(1, "sent")]
    assert result.state == "SUCCESS"
    assert result.get(timeout=1) == result.id


def test_delay_signatures_and_groups_work(worker: Any, wait_until: Callable[..., Any]) -> None:
    ids = [send_notification.delay(**SIMULATED).id]
    ids += [r.id for r in group(send_notification.s(**SIMULATED) for _ in range(3))()]
    wait_until(lambda: Notification.objects.filter(id__in=ids, status=Status.SENT).count() == 4)


def test_a_chain_sends_the_second_only_after_the_first_was_sent(
    worker: Any, beat: Any, wait_until: Callable[..., Any]
) -> None:
    slow = {**SIMULATED, "recipient": "ada?times=1&result=transient", "retry": {"base": 1}}
    chain(send_notification.s(**slow), send_notification.s(**SIMULATED, reference="second"))()
    second = wait_until(lambda: Notification.objects.filter(reference="second").first())
    first = Notification.objects.get(reference="")
    assert first.status == Status.SENT
    assert first.attempt_count == 2
    wait_until(reaches(second.id, Status.SENT))
    assert not Notification.objects.filter(reference="", sent_at__gt=second.created_at).exists()


def test_a_countdown_waits_in_the_row_until_it_is_due(
    worker: Any, beat: Any, wait_until: Callable[..., Any]
) -> None:
    result = send_notification.apply_async(kwargs=SIMULATED, countdown=2)
    row = Notification.objects.get(id=result.id)
    assert row.status == Status.SCHEDULED
    assert row.scheduled_at > row.created_at + timedelta(seconds=1)
    sent = wait_until(reaches(result.id, Status.SENT))
    assert sent.sent_at >= row.scheduled_at


def test_a_transient_failure_is_retried_and_the_wait_lives_in_the_row(
    worker: Any, beat: Any, wait_until: Callable[..., Any]
) -> None:
    to = "ada?result=transient&code=503&times=2"
    flaky: Any = {**SIMULATED, "recipient": to, "retry": {"base": 0.5}}
    result = send_notification.apply_async(kwargs=flaky)
    sent = wait_until(reaches(result.id, Status.SENT))
    assert [(a.result, a.code) for a in sent.attempts.all()] == [
        ("transient", "503"),
        ("transient", "503"),
        ("sent", ""),
    ]
    assert "retry: planned in the row" in worker.output()


def test_a_permanent_failure_goes_straight_to_the_dead_letters(
    worker: Any, wait_until: Callable[..., Any]
) -> None:
    refused: Any = {**SIMULATED, "recipient": "ada?result=permanent&code=550"}
    result = send_notification.apply_async(kwargs=refused)
    failed = wait_until(reaches(result.id, Status.FAILED))
    assert failed.failed_delivery.code == "550"
    assert [entry["result"] for entry in failed.failed_delivery.history] == ["permanent"]
    assert result.state == "FAILURE"


def test_a_message_of_another_application_is_accepted_and_stays_idempotent(
    worker: Any, wait_until: Callable[..., Any]
) -> None:
    app = send_notification.app
    for _ in range(2):
        app.send_task(
            "notifications.send_notification",
            kwargs=SIMULATED,
            task_id="11111111-2222-4333-8444-555555555555",
        )
    row = wait_until(reaches("11111111-2222-4333-8444-555555555555", Status.SENT))
    assert Notification.objects.count() == 1
    assert row.attempt_count == 1


def test_a_bad_message_of_another_application_is_kept_as_a_dead_letter(
    worker: Any, wait_until: Callable[..., Any]
) -> None:
    bad: dict[str, dict[str, object]] = {
        "UnknownChannel": {"channel": "pigeon"},
        "InvalidContext": {"context": {"lines": [{"price": float("nan")}]}},
        "InvalidTime": {"countdown": float("inf")},
        "InvalidField": {"reference": "\x00\ud800"},
    }
    for error, fields in bad.items():
        send_notification.app.send_task(
            "notifications.send_notification", kwargs={**SIMULATED, **fields}, task_id=error
        )
    send_notification.app.send_task(
        "notifications.send_notification", kwargs=SIMULATED, task_id="Late", expires=-5
    )
    wait_until(lambda: FailedDelivery.objects.count() == len(bad))
    states = dict.fromkeys(bad, "FAILURE") | {"Late": "REVOKED"}
    wait_until(lambda: {id_: send_notification.AsyncResult(id_).state for id_ in states} == states)
    letters = dict(FailedDelivery.objects.values_list("message_id", "error_class"))
    assert letters == {name: name for name in bad}
    assert FailedDelivery.objects.filter(request__channel="pigeon").exists()
    nan = FailedDelivery.objects.get(request__context={"lines": [{"price": "NaN"}]})
    assert "context.lines[0].price is not a finite number" in nan.detail
    assert Notification.objects.count() == 0


def test_email_goes_out_over_smtp_with_text_and_html(
    processes: Processes, smtp_server: SmtpServer, wait_until: Callable[..., Any]
) -> None:
    processes.worker(EMAIL_URL=smtp_server.url)
    result = send_notification.delay(
        channel="email", recipient="ada@example.org", subject="Hello", body="Dear Ada"
    )
    wait_until(lambda: smtp_server.messages)
    mail = smtp_server.messages[0]
    assert mail.recipients == ["ada@example.org"]
    assert result.id in mail.message["Message-ID"]
    assert mail.message.get_content().strip() == "Dear Ada"
    row = wait_until(reaches(result.id, Status.SENT))
    assert row.provider == "smtp"
