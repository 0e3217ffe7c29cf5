"""A job of sends is refused when it is made, by field, for what submission would refuse."""

from typing import Any

import pytest
from django_celery_beat.models import PeriodicTask

from notifications.core.routing import SEND_TASK, SEND_TO_EACH_TASK
from notifications.tasks import send_notification
from scheduling import jobs
from tests.integration.notifications.conftest import SIMULATED

EACH = {"channel": "simulator", "body": "Hello", "recipients": ["ada", "bob"]}

REFUSED = [
    (SEND_TASK, {"kwargs": {"channel": "email"}}, "kwargs.recipient"),
    (SEND_TASK, {"kwargs": {"chanel": "email"}}, "kwargs.chanel"),
    (SEND_TASK, {"kwargs": {**SIMULATED, "channel": "fax"}}, "kwargs.channel"),
    (SEND_TASK, {"kwargs": {**SIMULATED, "channel": "sms", "recipient": "1"}}, "kwargs.recipient"),
    (SEND_TASK, {"kwargs": {**SIMULATED, "body": "", "template": "none"}}, "kwargs.template"),
    (SEND_TASK, {"kwargs": {**SIMULATED, "priority": "urgent"}}, "kwargs.priority"),
    (SEND_TASK, {"kwargs": {**SIMULATED, "context": [1]}}, "kwargs.context"),
    (SEND_TASK, {"kwargs": SIMULATED, "args": [1]}, "args"),
    (SEND_TO_EACH_TASK, {"kwargs": {**EACH, "recipients": []}}, "kwargs.recipients"),
    (SEND_TO_EACH_TASK, {"kwargs": {**EACH, "recipients": ["a", ""]}}, "kwargs.recipients.1"),
    (SEND_TO_EACH_TASK, {"kwargs": {**EACH, "recipient": "ada"}}, "kwargs.recipient"),
    (SEND_TO_EACH_TASK, {"kwargs": {**EACH, "bodi": "x"}}, "kwargs.bodi"),
]


@pytest.mark.parametrize(("handler", "options", "field"), REFUSED)
def test_what_submission_refuses_is_refused_by_register(
    transactional_db: None, handler: Any, options: dict[str, Any], field: str
) -> None:
    jobs.allow(SEND_TASK, SEND_TO_EACH_TASK)
    with pytest.raises(jobs.InvalidArguments) as refused:
        jobs.register("nightly", handler, 60, **options)
    assert refused.value.field == field
    assert not PeriodicTask.objects.exists()


@pytest.mark.parametrize(("handler", "kwargs"), [(SEND_TASK, SIMULATED), (SEND_TO_EACH_TASK, EACH)])
def test_what_submission_accepts_is_registered(
    transactional_db: None, handler: Any, kwargs: Any
) -> None:
    jobs.allow(SEND_TASK, SEND_TO_EACH_TASK)
    assert jobs.register("nightly", handler, 60, kwargs=kwargs).enabled


def test_a_job_that_calls_what_it_called_is_changed_unasked(transactional_db: None) -> None:
    """Its template may be unpublished since, and its pause must not depend on that."""
    jobs.register("nightly", send_notification, 60, kwargs=SIMULATED)
    PeriodicTask.objects.update(kwargs='{"channel": "fax"}')
    changed = jobs.register("nightly", send_notification, 90, kwargs={"channel": "fax"})
    assert changed.definition["schedule"] == {"every": 90}


def test_a_declared_job_that_is_refused_stops_no_other(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs, "_declared", {})
    jobs.job(every=60, name="broken", kwargs={"channel": "email"})(send_notification)
    jobs.job(every=60, name="whole", kwargs=SIMULATED)(send_notification)
    jobs.register_declared()
    assert PeriodicTask.objects.get().name == "whole"
    assert "kwargs.recipient" in caplog.text
