"""One row of each kind in each world, every text of which carries the world's own mark."""

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.db import connection
from django_celery_beat.models import PeriodicTask

from notifications.api.job_documents import for_world, stored_name
from notifications.core.routing import SEND_TASK
from notifications.core.world import World
from notifications.db import clock
from notifications.models import (
    Attempt,
    Audience,
    Batch,
    BulkReplay,
    Category,
    Chain,
    ChainRun,
    Consent,
    DeliveryWindow,
    Event,
    EventEffect,
    EventRule,
    FailedDelivery,
    Notification,
    Project,
    Recipient,
    RecipientAddress,
    RefusedRow,
    Status,
    Suppression,
    Throttle,
)
from notifications.recipients import categories, suppressions, throttles, windows
from scheduling.job_storage import store
from scheduling.models import Fire, FireStatus, Schedule
from templates_engine import catalog
from templates_engine.models import Template, TemplateVersion
from templates_engine.parts import DEFAULT_LOCALE
from templates_engine.publishing import prepare

MARK = "mark-of-a-world"
PROJECTS = ("default", "shop")
WORLDS = [World(project, test) for project in PROJECTS for test in (False, True)]
TABLES = (
    *(Notification, Attempt, Batch, RefusedRow, FailedDelivery, BulkReplay, Suppression),
    *(Event, EventEffect, EventRule, Recipient, RecipientAddress),
    *(Category, Consent, DeliveryWindow, Chain, ChainRun, Audience, Throttle),
    *(Template, TemplateVersion, PeriodicTask, Schedule, Fire),
)


RULE: dict[str, Any] = {"channel": "simulator", "recipients": "data.said"}

Key = tuple[str, str]  # a table and a primary key


@dataclass
class Rows:
    """What a world has: its rows' ``keys``.

    ``paths`` holds the values that stand in an address, by its beginning.
    """

    world: World
    mark: str
    paths: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: set[Key] = field(default_factory=set)


def definition(world: World, mark: str, **more: Any) -> dict[str, Any]:
    kwargs = {"channel": "simulator", "recipient": mark, "body": mark}
    job = {"name": mark, "handler": SEND_TASK, "schedule": {"every": 3600}, "kwargs": kwargs}
    return for_world({**job, **more}, world)


def furnish(world: World) -> Rows:
    """Make one row of each kind."""
    mark = f"mark-{world.project}-{'test' if world.test else 'live'}"
    rows = Rows(world, mark)
    now = clock.now()
    batch = Batch.objects.create(name=mark, closed_at=now, refused=1, **world.columns)
    RefusedRow.objects.create(batch=batch, place=0, field="recipient", error="X", detail=mark)
    common = {"channel": "simulator", "priority": "low", "recipient": mark, "body": mark}
    waiting = Notification.objects.create(
        **common, **world.columns, status=Status.SCHEDULED, due_at=now, scheduled_at=now
    )
    failed = Notification.objects.create(
        **common, **world.columns, status=Status.FAILED, scheduled_at=now, finished_at=now
    )
    dead = FailedDelivery.objects.create(
        notification=failed,
        channel="simulator",
        priority="low",
        reason="rejected",
        error_class="permanent",
        detail=mark,
        fingerprint=mark,
        created_at=now,
        **world.columns,
    )
    replay = BulkReplay.objects.create(
        fingerprint=mark, per_second=1, last_id=0, total=1, finished_at=now, **world.columns
    )
    suppression = Suppression.objects.create(
        channel="simulator", recipient=f"not-{mark}", detail=mark, **world.columns
    )
    Category.objects.create(name=mark, **world.columns)
    window = DeliveryWindow.objects.create(
        template=f"not-{mark}", begins="08:00", ends="20:00", **world.columns
    )
    throttle = Throttle.objects.create(category=mark, limit=1000, **world.columns)
    chosen = {"choices": {mark: {"email": True}}}
    recipient = Recipient.objects.create(key=mark, **chosen, **world.columns)
    Consent.objects.create(recipient=recipient, category=mark, granted=True, means="api", text=mark)
    RecipientAddress.objects.create(recipient=recipient, channel="simulator", address=mark, place=0)
    steps = [{"channel": "simulator", "recipient": mark, "body": mark}]
    Chain.objects.create(name=mark, steps=steps, **world.columns)
    run = ChainRun.objects.create(
        chain=mark, recipient_key=mark, stop_on="sent", content_hash="x", **world.columns
    )
    Audience.objects.create(name=mark, filter={"everyone": True}, **world.columns)
    event = Event.objects.create(name=mark, data={"said": mark}, content_hash="x", **world.columns)
    rule = EventRule.objects.create(
        **{**RULE, "name": mark, "event": mark, "template": mark}, **world.columns
    )
    EventEffect.objects.create(event=event, rule=rule, rule_name=mark, outcome="unmet")
    template = Template.objects.create(name=mark, channel="simulator", namespace=world.namespace)
    for number, status in enumerate(("archived", "published", "draft"), 1):
        TemplateVersion.objects.create(
            template=template, number=number, status=status, **_content(mark)
        )
    name = stored_name(world, mark)
    job = store({**definition(world, mark), "name": name}, is_new=True, namespace=world.namespace)
    fire = Fire.objects.create(
        schedule_id=job.pk,
        scheduled_for=now,
        fire_at=now,
        status=FireStatus.FAILED,
        finished_at=now,
        error=mark,
        cause=mark,
    )
    rows.paths = {
        "/notifications": {"id": waiting.pk},
        "/notifications/batch": {"id": batch.pk},
        "/failed-deliveries": {"id": dead.pk},
        "/failed-deliveries/replays": {"id": replay.pk},
        "/suppressions": {"id": suppression.pk},
        "/events": {"id": event.pk},
        "/event-rules": {"id": rule.pk},
        "/recipients": {"id": mark},
        "/categories": {"name": mark},
        "/audiences": {"name": mark},
        "/delivery-windows": {"id": window.pk},
        "/throttles": {"id": throttle.pk},
        "/chains": {"name": mark},
        "/chain-runs": {"id": run.pk},
        "/templates": {"name": mark, "number": 3},
        "/jobs": {"id": job.pk},
        "/failed-runs": {"id": fire.pk},
        "/problems": {"name": "not-found"},
    }
    return rows


def _content(mark: str) -> dict[str, Any]:
    """Return what a version has that says the mark: built once, as each build takes its time."""
    built: dict[str, Any] = json.loads(_built().replace(MARK, mark))
    return built


@cache
def _built() -> str:
    template = Template(name="any", channel="simulator")
    version = TemplateVersion(template=template, variants={DEFAULT_LOCALE: {"body": MARK}})
    prepare(version)
    names = ("variants", "compiled", "required", "checksum")
    return json.dumps({name: getattr(version, name) for name in names})


def furnish_all() -> dict[World, Rows]:
    """Make all worlds."""
    Project.objects.create(name="shop")
    found, there = {}, set(state())
    for world in WORLDS:
        found[world] = rows = furnish(world)
        rows.keys = set(state()) - there
        there |= rows.keys
    return found


def state() -> dict[Key, tuple[str, str | None]]:
    """Read all rows that an operation could touch: what each is, and whose it says that it is."""
    parts = []
    for table in TABLES:
        columns = {column.attname for column in table._meta.concrete_fields}
        pk = table._meta.pk
        assert pk is not None
        whose = "project || CASE WHEN test THEN ':test' ELSE '' END"
        parts.append(
            f"SELECT '{table.__name__}', {pk.attname}::text, md5(one::text),"
            f" {whose if {'project', 'test'} <= columns else 'NULL'}"
            f" FROM {table._meta.db_table} AS one"
        )
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        return {(table, pk): (digest, said) for table, pk, digest, said in cursor.fetchall()}


def forget() -> None:
    """Look everything up again: what was made was undone."""
    catalog.clear()
    suppressions.forget()
    categories.forget()
    windows.forget()
    throttles.forget()
