"""Holding back and releasing: what an operator said holds from the moment that it was answered.

Each claim looks at holds and batches in its own statement (``held``). What changes them does so in
``changing``, which waits for the claims that are under way and has the next ones wait for it. So
when it has committed, nothing is claimed by anybody that did not see the change.

Rows that a hold covers, beside others of their queue, are parked by a tick: taken out of the index
on ``due_at``, so that they cost nothing while they wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL
from django_celery_beat.models import PeriodicTask

from notifications.core import routing
from notifications.core.errors import InvalidField
from notifications.core.reasons import Reason
from notifications.db import clock, dialect
from notifications.models import WAITING, Hold, Notification, Scope, Status
from notifications.providers import accounts
from notifications.queueing import held
from notifications.transitions import waiting
from scheduling.lookout import Rows, Work
from scheduling.models import Fire
from templates_engine.models import Template

CHUNK = 5000  # rows per step
LOOKED_AT = 20_000  # due rows of a queue, the oldest ones, that one step looks at
BUSY, IDLE = 0.0, 30.0  # seconds at most, unless the lookout finds work
PARKED = "held"  # the reason of a row that waits for the end of a hold

_STATES = 0x686F6C64  # Postgres' advisory lock of those who change or follow a state
_LOCK_TIMEOUT = "5s"


@contextmanager
def changing() -> Iterator[None]:
    """Change what may be claimed: once this has committed, every claim sees the change.

    Takes a few milliseconds: the claims that are under way are waited for. Raises
    ``django.db.OperationalError`` if they do not end within five seconds; nothing is changed then.
    """
    with following():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                # A claim takes ROW SHARE on this table before its snapshot, by FOR KEY SHARE.
                # No reader is disturbed by EXCLUSIVE, a backup neither.
                cursor.execute(f"LOCK TABLE {Hold._meta.db_table} IN EXCLUSIVE MODE")
        yield


@contextmanager
def following() -> Iterator[None]:
    """Have rows follow a state that does not change meanwhile; read it inside."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_STATES])
        yield


def in_force() -> "QuerySet[Hold]":
    """Return the holds that were not released."""
    return Hold.objects.filter(released_at__isnull=True)


def covering(row: Notification) -> list[Hold]:
    """Return the holds that keep a notification from being claimed or sent."""
    covers = Q(scope=Scope.EVERYTHING) | Q(scope=Scope.CHANNEL, value=row.channel)
    covers |= Q(scope=Scope.QUEUE, value=f"{row.channel}.{row.priority}")
    if row.template_version:
        covers |= Q(scope=Scope.TEMPLATE, value=row.template_version.template.name)
    if row.reason == accounts.HELD:
        names = [candidate.name for candidate in accounts.all_of(row.channel)]
        covers |= Q(scope=Scope.ACCOUNT, value__in=names)
    made_by = Fire.objects.filter(pk__in=[row.pk, *([row.batch.run] if row.batch else [])])
    schedules = made_by.values("schedule__periodic_task__name")
    covers |= Q(scope=Scope.SCHEDULE, value__in=schedules)
    return list(in_force().filter(covers))


def passed_over(row: Notification) -> list[Hold]:
    """Return the holds of its account for which a step of a chain was never tried.

    Another step has reached meanwhile.
    """
    if row.reason != Reason.CHAIN_REACHED or row.attempt_count:
        return []
    names = (
        [row.account] if row.account else [account.name for account in accounts.all_of(row.channel)]
    )
    return list(
        Hold.objects.filter(
            Q(released_at__isnull=True) | Q(released_at__gt=row.scheduled_at),
            scope=Scope.ACCOUNT,
            value__in=names,
            created_at__lt=row.finished_at,
        )
    )


def hold(
    scope: str, value: str = "", *, reason: str = "", by: AbstractBaseUser | None = None
) -> Hold:
    """Hold back; when this returns, nothing that it covers is claimed any more.

    Held again, it keeps its first reason. Raises ``InvalidField`` for what is not there.
    """
    check(scope, value)
    with changing():
        made, created = Hold.objects.get_or_create(
            scope=scope,
            value=value,
            defaults={"reason": reason[:255], "created_by_id": by.pk if by else None},
        )
        if not created and made.released_at is not None:
            made.reason, made.created_by_id = reason[:255], by.pk if by else None
            made.created_at, made.released_at = clock.now(), None
            made.save()
    made.refresh_from_db()
    return made


def release(scope: str, value: str = "") -> bool:
    """End a hold; False if there is none. What waited is due again at once, or in its time."""
    now = clock.now()
    with changing():
        released = in_force().filter(scope=scope, value=value).update(released_at=now)
    if released and scope == Scope.ACCOUNT:
        wake(now + timedelta(seconds=accounts.HELD_WAIT))
    if released:
        tick()
    return bool(released)


def check(scope: str, value: str) -> None:
    """See that there is such a thing to hold. Raises ``InvalidField``."""
    if scope not in Scope.values:
        known = ", ".join(Scope.values)
        raise InvalidField("There is no such scope.", field="scope", hint=f"Use one of: {known}.")
    if not _exists(Scope(scope), value):
        names = {Scope.QUEUE: routing.QUEUE_NAMES, Scope.CHANNEL: routing.CHANNELS}
        listed = ", ".join(names.get(Scope(scope), ()))
        hint = f"Use one of: {listed}." if listed else ""
        raise InvalidField(f"There is no {scope} of this name.", field="value", hint=hint)


def work() -> tuple[Work, ...]:
    """Say where it shows that rows have to be parked, or have to fall due."""
    return (Rows(Hold.objects.filter(Q(scope__in=held.ROW_SCOPES) | Q(released_at__isnull=False))),)


def tick() -> float:
    """Park what is due and held, and have released rows fall due; return the seconds to rest."""
    moved = 0
    if in_force().filter(scope__in=held.ROW_SCOPES).exists():
        for channel in routing.CHANNELS:
            for priority in routing.PRIORITIES:
                moved += _park(channel, priority)
    released = list(Hold.objects.filter(released_at__isnull=False).values_list("pk", flat=True))
    if released:
        moved += (freed := _free())
        if freed < CHUNK:
            Hold.objects.filter(pk__in=released, released_at__isnull=False).delete()
    return BUSY if moved else IDLE


def _park(channel: str, priority: str) -> int:
    """Park due rows of a queue that are held one by one: they cost each claim a look."""
    oldest = (
        f"SELECT id, batch_id, template_version_id FROM {held.NOTIFICATIONS}"  # noqa: S608 -- as in held
        " WHERE channel = %s AND priority = %s AND due_at <= %s AND status IN (%s, %s)"
        " ORDER BY due_at LIMIT %s"
    )
    covered = RawSQL(  # noqa: S611 -- as in held
        f"SELECT n.id FROM ({oldest}) n WHERE {held.row('n')} LIMIT %s",  # noqa: S608 -- as in held
        [channel, priority, dialect.write(clock.now()), *WAITING, LOOKED_AT, CHUNK],
    )
    with following():
        # What a worker is just claiming is passed over, and looked at by the next round.
        ids = dialect.lock_free(Notification.objects.filter(id__in=covered), CHUNK)
        return waiting.park(Notification.objects.filter(id__in=ids), PARKED)


def _free() -> int:
    """Have parked rows that nothing holds any more fall due."""
    table = held.NOTIFICATIONS
    freed = RawSQL(  # noqa: S611 -- as in held
        f"SELECT id FROM {table} WHERE due_at IS NULL AND status = 'scheduled'"  # noqa: S608 -- as in held
        f" AND reason = %s AND NOT {held.row(table)} LIMIT %s",
        [PARKED, CHUNK],
    )
    with following():
        ids = Notification.objects.filter(id__in=freed).values_list("id", flat=True)
        rows = Notification.objects.filter(id__in=list(ids))
        dialect.lock_in_order(rows)
        return waiting.release(rows, PARKED, clock.now())


def wake(until: datetime) -> None:
    """Have rows that wait for an account fall due now."""
    now = clock.now()
    rows = Notification.objects.filter(
        channel__in=routing.CHANNELS,
        priority__in=routing.PRIORITIES,
        due_at__gt=now,
        due_at__lte=until,
        status=Status.SCHEDULED,
        reason__in=(accounts.HELD, "no_provider"),
    )
    with transaction.atomic():
        dialect.lock_in_order(rows)
        waiting.make_due(rows, now)


def _exists(scope: Scope, value: str) -> bool:
    match scope:
        case Scope.EVERYTHING:
            return not value
        case Scope.CHANNEL:
            return value in routing.CHANNELS
        case Scope.QUEUE:
            return value in routing.QUEUE_NAMES
        case Scope.ACCOUNT:
            return value in {c.name for name in routing.CHANNELS for c in accounts.all_of(name)}
        case Scope.TEMPLATE:
            return Template.objects.filter(name=value).exists()
        case Scope.SCHEDULE:
            return bool(PeriodicTask.objects.filter(name=value).exists())
