"""Retention: what is finished leaves after a while, a little at a time.

The deletion yields: it rests as long as it worked, so that it never takes more than half of one
processor from what is sent meanwhile.

Dead letters keep their notification as long as they are kept themselves, for a replay needs it.
What leaves goes to the archive, where there is one. An event leaves as old as a notification, once
nothing that it has caused waits; a run of a chain once none of its steps is left.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection, models, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.fields.reverse_related import ForeignObjectRel

from notifications.core.conf import conf
from notifications.db import clock, dialect
from notifications.mails import collecting
from notifications.maintenance import archive
from notifications.models import (
    UNFINISHED,
    ChainRun,
    Digest,
    Event,
    EventEffect,
    FailedDelivery,
    Notification,
    TakenReply,
    ThrottleUse,
)
from notifications.queueing import quarantine
from scheduling import isolation

LOOP = "retention"
BATCH = 200  # rows per transaction: no lock is held, and no processor used, for long
LONGEST_REST = 1.0  # seconds after a batch
TICK = 20_000  # rows per round of a scheduler
REPOSTED = timedelta(days=30)  # for so long a text that is posted again is known
BUSY, IDLE = 1.0, 300.0  # seconds between rounds


def prune(
    *,
    days: int | None = None,
    failed_days: int | None = None,
    limit: int | None = None,
    report: Callable[[int], object] = int,
    rest: Callable[[float], object] = time.sleep,
) -> int:
    """Delete what finished more than ``days`` ago, and dead letters after ``failed_days``.

    The settings NOTIFICATIONS_KEEP_DAYS and NOTIFICATIONS_KEEP_FAILED_DAYS stand in for None.
    Stops after about ``limit`` notifications, if given. Returns how many left; ``report`` is
    called with the number of each batch, ``rest`` with the seconds to rest after one.
    """
    finished, failed, since, very_old = _old(days, failed_days)
    in_batches = partial(_in_batches, limit=limit, rest=rest)
    deleted = in_batches(finished, _forget, report=report)
    for rows in _beside_notifications(since, very_old):
        in_batches(rows, partial(_delete, rows.model))
    quarantine.forget(very_old)
    return deleted + in_batches(failed, _forget, report=report)


def _beside_notifications(since: datetime, very_old: datetime) -> list[QuerySet[Any]]:
    """Return the rows that go without a notification: none refers to them, or none needs them."""
    letters = FailedDelivery.objects.filter(created_at__lt=very_old)
    runs = ChainRun.objects.filter(created_at__lt=since)
    return [
        # A dead letter goes with its notification, and that of a refused message alone.
        letters.filter(notification__isnull=True),
        _ended(Event.objects.filter(created_at__lt=since)),
        runs.filter(~Exists(Notification.objects.filter(chain_run=OuterRef("pk")))),
        Digest.objects.filter(closed_at__lt=since),
        ThrottleUse.objects.filter(until__lt=clock.now()),
        TakenReply.objects.filter(received_at__lt=clock.now() - REPOSTED),
    ]


def _delete(model: type[models.Model], ids: list[Any]) -> None:
    model._default_manager.filter(pk__in=ids).delete()  # noqa: SLF001 -- Django's name


def old(*, days: int | None = None, failed_days: int | None = None) -> int:
    """Return how many notifications ``prune`` would take away; the count has one processor."""
    finished, failed, *_ = _old(days, failed_days)
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                # Of a large table Postgres would use three, in which nothing is sent.
                cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        return finished.count() + failed.count()


def _old(
    days: int | None, failed_days: int | None
) -> tuple[QuerySet[Notification], QuerySet[Notification], datetime, datetime]:
    """Return what finished and is old, what failed and is, and since when each is."""
    now = clock.now()
    old = now - timedelta(days=conf.keep_days if days is None else days)
    very_old = now - timedelta(days=conf.keep_failed_days if failed_days is None else failed_days)
    finished = Notification.objects.filter(due_at__isnull=True)
    return (
        finished.filter(finished_at__lt=old, failed_delivery__isnull=True),
        finished.filter(failed_delivery__created_at__lt=very_old),
        old,
        very_old,
    )


def tick() -> float:
    """Delete a few, and give the seconds until the next round is wanted."""
    if prune(limit=TICK):
        return BUSY
    if archive.is_on():
        archive.drop()
    return IDLE


def _in_batches(
    rows: QuerySet[Any],
    forget: Callable[[list[Any]], Any],
    *,
    limit: int | None,
    rest: Callable[[float], object],
    report: Callable[[int], object] = int,
) -> int:
    """Delete rows a batch at a time, each in a transaction of its own; return how many went.

    Rows that another process has in hand are passed over: several share the work. One that
    cannot leave stays, and the others of its batch go.
    """
    deleted = 0
    while limit is None or deleted < limit:
        began = time.monotonic()
        with transaction.atomic():
            free = quarantine.passing_over(rows, LOOP)
            free = free.select_for_update(skip_locked=True, of=("self",))
            ids = list(free.values_list("pk", flat=True)[:BATCH])
            if not ids:
                break
            faults = isolation.halving(ids, partial(_together, forget), stage=LOOP, key=str)
            quarantine.note(LOOP, faults)
        deleted += len(ids) - len(faults)
        report(len(ids) - len(faults))
        rest(min(time.monotonic() - began, LONGEST_REST))
    return deleted


def _ended(events: "QuerySet[Event]") -> "QuerySet[Event]":
    """Return the events of whose notifications none can be cancelled any more."""
    waiting = Notification.objects.filter(pk=OuterRef("notification_id"), status__in=UNFINISHED)
    open_ = EventEffect.objects.filter(Exists(waiting), event=OuterRef("pk"))
    return events.filter(~Exists(open_))


def _together(forget: Callable[[list[Any]], Any], ids: list[Any]) -> None:
    with transaction.atomic():
        forget(ids)


def _forget(ids: list[UUID]) -> None:
    """Delete notifications with all that belongs to them, and nobody's pointer at them.

    One statement per table: a fifth of what it costs to collect the rows first, as the ORM does.
    """
    if archive.is_on():
        archive.keep(ids)
    mails = set(
        Notification.objects.filter(pk__in=ids, mail__isnull=False).values_list("mail", flat=True)
    )
    is_theirs, parameters = dialect.one_of("", ids)
    with connection.cursor() as cursor:
        for relation in Notification._meta.get_fields(include_hidden=True):
            if isinstance(relation, ForeignObjectRel):
                table, column = relation.related_model._meta.db_table, str(relation.field.column)
                change = f"UPDATE {table} SET {column} = NULL"  # noqa: S608 -- names of our own models
                if relation.on_delete is models.CASCADE:
                    change = f"DELETE FROM {table}"  # noqa: S608 -- as above
                cursor.execute(f"{change} WHERE {column}{is_theirs}", parameters)
        cursor.execute(
            f"DELETE FROM {Notification._meta.db_table} WHERE id{is_theirs}",  # noqa: S608 -- as above
            parameters,
        )
    if mails:
        collecting.release(mails)
