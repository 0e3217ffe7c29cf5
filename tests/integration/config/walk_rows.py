"""A row of each model, in a state from which each action can move it on."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from django_celery_results.models import GroupResult, TaskResult

from config.audit import log
from config.models import AuditEntry
from notifications.maintenance import archive
from notifications.models import (
    ApiKey,
    ArchivedNotification,
    Audience,
    Batch,
    BulkReplay,
    Category,
    Chain,
    ChainRun,
    DeliveryWindow,
    Event,
    EventRule,
    FailedDelivery,
    Hold,
    Notification,
    OutboxMessage,
    Project,
    ProviderAccount,
    QuarantinedRow,
    QueueWeight,
    RateLimit,
    Recipient,
    Suppression,
    Throttle,
)
from notifications.operations import api_keys
from notifications.recipients import project_rows
from notifications.submission import send
from scheduling.models import Fire, FireStatus, Schedule
from templates_engine.models import Partial, Template, TemplateVersion
from templates_engine.publishing import create_version, publish
from tests import roles
from tests.integration.config.walk_tables import MODELS, label


def furnished() -> Any:
    """Make a row of each model, in a state from which each action can move it on."""
    cache.clear()
    roles.make()
    now = datetime.now(UTC)

    def ended(status: str, **fields: Any) -> Notification:
        row = send(subject="S", body="B", **fields)
        Notification.objects.filter(pk=row.pk).update(status=status, due_at=None, finished_at=now)
        return row

    waits = send(channel="simulator", recipient="ada", body="B", countdown=600)
    captured = ended("sent", channel="email", recipient="ada@example.org")
    OutboxMessage.objects.create(
        notification=captured, channel="email", recipient="ada@example.org", content={"body": "B"}
    )
    dead = ended("failed", channel="simulator", recipient="ada")
    FailedDelivery.objects.create(
        notification=dead,
        channel="simulator",
        priority="medium",
        reason="rejected",
        error_class="E",
        fingerprint="f" * 32,
        created_at=now,
    )
    archive.keep([captured.id])
    interval = IntervalSchedule.objects.create(every=9, period="seconds")
    tasks = [
        PeriodicTask.objects.create(
            name=name,
            task="notifications.send_notification",
            kwargs=json.dumps({"channel": "simulator", "recipient": "ada", "body": "B"}),
            interval=interval,
            enabled=name != "paused",
        )
        for name in ("active", "paused")
    ]
    for task in tasks:
        Schedule.objects.get_or_create(pk=task.pk)
    fire = Fire.objects.create(
        schedule_id=tasks[0].pk,
        scheduled_for=now - timedelta(hours=1),
        fire_at=now - timedelta(hours=1),
        finished_at=now - timedelta(minutes=50),
        status=FireStatus.FAILED,
        cause="c" * 32,
        history=[],
    )
    template = Template.objects.create(name="code", channel="simulator", category="transactional")
    parts = {"subject": "S", "body": "B {{ code }}"}
    archived, published, draft = (
        create_version(template, parts, sample_context={"code": "1"}) for _ in range(3)
    )
    publish(archived)
    publish(published)
    log.record(log.Who(log.Kind.PERSON, "ada"), "hold.add")
    rows = {
        Group: Group.objects.get(name="viewer"),
        User: User.objects.create_user("eve", "eve@example.org"),
        AuditEntry: AuditEntry.objects.first(),
        ClockedSchedule: ClockedSchedule.objects.create(clocked_time=now),
        CrontabSchedule: CrontabSchedule.objects.create(),
        IntervalSchedule: IntervalSchedule.objects.create(every=77),
        PeriodicTask: tasks[0],
        SolarSchedule: SolarSchedule.objects.create(event="sunset", latitude=1, longitude=1),
        GroupResult: GroupResult.objects.create(group_id="g"),
        TaskResult: TaskResult.objects.create(task_id="t"),
        ApiKey: api_keys.create("shop").row,
        ArchivedNotification: ArchivedNotification.objects.get(),
        Audience: Audience.objects.create(name="all", filter={"everyone": True}),
        Batch: Batch.objects.create(name="b", closed_at=now),
        BulkReplay: BulkReplay.objects.create(fingerprint="f", total=1, per_second=1, last_id=1),
        Category: Category.objects.create(name="report"),
        Throttle: Throttle.objects.create(category="report", limit=3),
        Chain: Chain.objects.create(
            name="c", steps=[{"channel": "sms", "body": "B", "recipient": "+436641234567"}]
        ),
        ChainRun: ChainRun.objects.create(chain="c", stop_on="sent", waits=[60, 0]),
        DeliveryWindow: DeliveryWindow.objects.create(
            category="report", begins="08:00", ends="20:00"
        ),
        Event: Event.objects.create(name="a.b", data={"to": "x@example.org"}, content_hash="x"),
        EventRule: EventRule.objects.create(
            name="r", event="a.b", channel="simulator", recipients="data.to", template="code"
        ),
        FailedDelivery: FailedDelivery.objects.get(),
        Hold: Hold.objects.create(scope="account", value="mail-b"),
        Notification: waits,
        Project: Project.objects.create(name="shop"),
        ProviderAccount: ProviderAccount.objects.create(
            name="mail-a", channel="simulator", kind="simulator"
        ),
        QuarantinedRow: QuarantinedRow.objects.create(
            loop="retention", key="1", first_seen_at=now, last_seen_at=now, quarantined_at=now
        ),
        QueueWeight: QueueWeight.objects.create(queue="email.low", weight=3),
        RateLimit: RateLimit.objects.create(scope="recipient", channel="email", rate="5/m"),
        Recipient: Recipient.objects.create(key="customer-17"),
        Suppression: Suppression.objects.create(channel="email", recipient="x@example.org"),
        Fire: fire,
        Partial: Partial.objects.create(name="foot", source="x"),
        Template: template,
        TemplateVersion: draft,
    }
    others = {
        "resume": tasks[1],
        "resume_selected": tasks[1],
        "resume_it": Batch.objects.create(name="q", state="paused", closed_at=now),
        "batch.resume": Batch.objects.create(name="p", state="paused", closed_at=now),
        "roll_back": archived,
        "release_account": ProviderAccount.objects.create(
            name="mail-b", channel="simulator", kind="simulator"
        ),
    }
    fingerprint = rows[FailedDelivery].fingerprint
    addresses = {
        "notifications_faileddelivery_replay_cause": [fingerprint],
        "notifications_faileddelivery_discard_cause": [fingerprint],
        "notifications_template_variables": [template.pk],
        "templates_engine_templateversion_preview_page": [draft.pk],
        "templates_engine_templateversion_preview": [draft.pk],
        "templates_engine_templateversion_compare_page": [draft.pk],
        "templates_engine_templateversion_compare": [draft.pk],
        "auth_user_password_change": [rows[User].pk],
        "outbox-message": [OutboxMessage.objects.get().pk],
        "batch-errors": [rows[Batch].pk],
        "notifications_batch_progress": [rows[Batch].pk],
    }
    assert {label(model) for model in rows} == MODELS.keys()
    project_rows.forget()  # the categories above were not there when they were last read
    return rows, others, addresses
