"""Ada in every table that can hold her; the accounts of the providers serve here, too."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from django_celery_results.models import GroupResult, TaskResult
from pytest_django import Settings

from notifications.db import clock
from notifications.maintenance import retention
from notifications.models import (
    Attempt,
    Audience,
    Batch,
    ChainRun,
    Digest,
    Event,
    EventEffect,
    Expansion,
    FailedDelivery,
    Hold,
    Notification,
    PendingReceipt,
    RefusedRow,
    Throttle,
    ThrottleUse,
)
from notifications.recipients import suppressions
from notifications.submission import send
from scheduling.models import Fire, FireStatus, Schedule
from tests.integration.notifications.operations.ada import ADA, OTHER
from tests.integration.notifications.providers.conftest import account

__all__ = ["account"]


@pytest.fixture
def everything(
    transactional_db: None,
    settings: Settings,
    deliver: Callable[..., Any],
    set_: Callable[..., None],
) -> dict[Any, Any]:
    """Ada in every table that can hold her."""
    settings.OUTBOX = True
    suppressions.forget()
    mail: dict[str, Any] = {"channel": "email", "subject": "For c4711x", "body": "Code c4711x"}
    shouted = "Ada.Lovelace@Example.ORG"
    sent = send(**mail, recipient=shouted, reference="c4711x", html="<p>c4711x</p>")
    copy = send(
        channel="email", subject="S", body="B", recipient=OTHER, cc=[ADA, "eve@example.org"]
    )
    deliver(sent, copy)
    failed = send(channel="simulator", recipient=f"{ADA}?result=permanent&code=550", body="c4711x")
    Notification.objects.filter(pk=failed.pk).update(recipient=f"{ADA}?result=permanent&code=550")
    deliver(failed)
    FailedDelivery.objects.update(
        detail=f"550 <{ADA}>", history=[{"number": 1, "detail": ADA}], resolution=f"by {ADA}"
    )
    Notification.objects.filter(pk=failed.pk).update(recipient=ADA, channel="email")
    waits = send(**mail, recipient=ADA, countdown=600, idempotency_key="welcome-lovelace")
    old = send(**mail, recipient=ADA)
    for row in (sent, old):
        Notification.objects.filter(pk=row.pk).update(
            context={"code": "c4711x"},
            metadata={"customer": "c4711x"},
            options={"to_name": "Ada Lovelace"},
            reference="c4711x",
            idempotency_key=f"c4711x {row.pk}",
            callback_url=f"https://shop.example/?of={ADA}",
        )
    deliver(old)
    Attempt.objects.update(detail=f"250 {ADA} accepted")
    Attempt.objects.exclude(notification=copy.id).update(provider_message_id="m-lovelace")
    set_("ARCHIVE_MONTHS", 24)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_notification SET finished_at = now() - interval '40 days'"
            " WHERE id = %s",
            [old.pk],
        )
    retention.prune()
    suppressions.suppress("email", ADA, "complaint", detail=f"said {ADA}")
    PendingReceipt.objects.create(
        account="a",
        channel="email",
        event="bounced",
        recipient=ADA,
        detail=f"550 <{ADA}>",
        due_at=sent.created_at,
    )
    bad = {"index": 0, "field": "cc", "detail": f"'{ADA}' is bad"}
    batch = Batch.objects.create(name=f"for {ADA}", errors=[bad])
    asked = {"field": "attributes.mail", "op": "eq", "value": ADA}
    Audience.objects.create(name="ada", filter=asked, description=f"only {ADA}")
    Expansion.objects.create(
        batch=batch,
        audience="ada",
        filter=asked,
        fields={"cc": [ADA]},
        variables={"mail": {"default": ADA}},
        matched=1,
        frozen_at=sent.created_at,
        finished_at=sent.created_at,
    )
    event = Event.objects.create(name="a.b", key=ADA, data={"to": [ADA]}, content_hash="x")
    EventEffect.objects.create(
        event=event, rule_name="r", outcome="refused", detail=f"'{ADA}' is bad", match=ADA
    )
    run = ChainRun.objects.create(
        recipient_key="c4711x", idempotency_key="run-lovelace", stop_on="sent", content_hash="x"
    )
    Notification.objects.filter(pk=waits.pk).update(chain_run=run.pk, chain_step=1)
    throttle = Throttle.objects.create(category="product", limit=1)
    now = clock.now()
    ThrottleUse.objects.create(
        throttle=throttle, recipient_key="c4711x", recipient=ADA, since=now, until=now
    )
    Digest.objects.create(
        id=waits.pk, channel="email", recipient=ADA, recipient_key="c4711x", key=ADA, limit=5
    )
    Hold.objects.create(scope="queue", value="email.low", reason=f"asked by {ADA}")
    RefusedRow.objects.create(batch=batch, place=0, error="E", detail=f"'{ADA}' is bad")
    texts = ("task_args", "task_kwargs", "result", "traceback", "meta")
    TaskResult.objects.create(task_id="t", **dict.fromkeys(texts, json.dumps({"to": ADA})))
    GroupResult.objects.create(group_id="g", result=json.dumps([ADA]))
    task = PeriodicTask.objects.create(
        name="tidy", task="shop.tidy", interval=IntervalSchedule.objects.create(every=9)
    )
    Schedule.objects.get_or_create(pk=task.pk)
    Fire.objects.create(
        schedule_id=task.pk,
        scheduled_for=sent.created_at,
        fire_at=sent.created_at,
        status=FireStatus.FAILED,
        error=f"ValueError: {ADA}",
        history=[{"attempt": 1, "error": f"ValueError: {ADA}"}],
        note=f"for {ADA}",
        resolution=f"asked by {ADA}",
        finished_at=sent.created_at,
        call={"kwargs": {"path": "shop.tidy", "args": [ADA], "kwargs": {}}},
    )
    LogEntry.objects.create(
        user=User.objects.create_user("boss"),
        action_flag=1,
        object_repr=f"email to {ADA}",
        change_message=json.dumps([{"added": {"object": ADA}}]),
    )
    FailedDelivery.objects.create(
        request={"recipient": ADA, "body": "c4711x"},
        channel="email",
        priority="low",
        reason="refused",
        error_class="E",
        fingerprint="f",
        created_at=sent.created_at,
    )
    return {"sent": sent, "copy": copy, "failed": failed, "waits": waits, "old": old}
