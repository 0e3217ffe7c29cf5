"""What may not be claimed now, as conditions of our own SQL: part of each claim's own statement."""

from collections.abc import Sequence
from uuid import UUID

from django.db import connection
from django_celery_beat.models import PeriodicTask

from notifications.db import dialect
from notifications.models import Batch, Hold, Notification, Scope
from scheduling.models import Fire
from templates_engine.models import Template, TemplateVersion

NOTIFICATIONS = Notification._meta.db_table
_HOLDS = Hold._meta.db_table
_BATCHES = Batch._meta.db_table
_VERSIONS = TemplateVersion._meta.db_table
_TEMPLATES = Template._meta.db_table
_FIRES = Fire._meta.db_table
_SCHEDULES = PeriodicTask._meta.db_table

QUEUE_SCOPES = (Scope.EVERYTHING, Scope.CHANNEL, Scope.QUEUE)  # cover a queue as a whole
ROW_SCOPES = (Scope.TEMPLATE, Scope.SCHEDULE)  # cover some rows of a queue


def any_hold(*, in_order: bool = True) -> str:
    """Return a condition that there is a hold in force, of whatever scope."""
    lock = _in_order() if in_order else ""
    return f"EXISTS (SELECT 1 FROM {_HOLDS} WHERE released_at IS NULL{lock})"  # noqa: S608 -- names of our own tables and scopes


def among(ids: Sequence[UUID]) -> tuple[set[UUID], set[str]]:
    """Return which of these rows are held now, and the names of the accounts that are."""
    condition, parameter = dialect.one_of("n.id", ids)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT n.id FROM {NOTIFICATIONS} n WHERE {condition} AND ({batch('n')}"  # noqa: S608 -- as above
            f" OR ({any_hold(in_order=False)}"
            f" AND ({queue('n.channel', 'n.priority')} OR {row('n')})))",
            parameter,
        )
        rows = {dialect.read_id(id_) for (id_,) in cursor.fetchall()}
    named = Hold.objects.filter(released_at__isnull=True, scope=Scope.ACCOUNT)
    return rows, set(named.values_list("value", flat=True))


def batch(table: str = NOTIFICATIONS) -> str:
    """Return a condition that a row's batch is paused or cancelled."""
    # A scalar, so that Postgres asks for each row's batch by its key, and reads no table of them;
    # and few values, so that it expects nearly all rows to pass.
    return (
        f"({table}.batch_id IS NOT NULL AND"  # noqa: S608 -- as above
        f" (SELECT b.state FROM {_BATCHES} b WHERE b.id = {table}.batch_id)"
        f" IN ('{Batch.State.PAUSED}', '{Batch.State.CANCELLED}'))"
    )


def queue(channel: str, priority: str, *, in_order: bool = False) -> str:
    """Return a condition that a hold covers a queue: given by columns, or by ``%s``.

    With ``%s`` it takes channel, channel and priority. A claim asks ``in_order``.
    """
    scopes = ", ".join(f"'{scope}'" for scope in QUEUE_SCOPES)
    channel, priority = (
        "CAST(%s AS text)" if word == "%s" else word for word in (channel, priority)
    )
    return (
        f"EXISTS (SELECT 1 FROM {_HOLDS} h WHERE h.released_at IS NULL AND h.scope IN ({scopes})"  # noqa: S608 -- as above
        f" AND h.value IN ('', {channel}, {channel} || '.' || {priority})"
        f"{_in_order() if in_order else ''})"
    )


def row(table: str = NOTIFICATIONS) -> str:
    """Return a condition that a hold covers a row, by its template or its schedule."""
    templates = (
        f"SELECT v.id FROM {_HOLDS} h JOIN {_TEMPLATES} t ON t.name = h.value"  # noqa: S608 -- as above
        f" JOIN {_VERSIONS} v ON v.template_id = t.id"
        f" WHERE h.released_at IS NULL AND h.scope = '{Scope.TEMPLATE}'"
    )
    fires = (
        f"FROM {_HOLDS} h JOIN {_SCHEDULES} s ON s.name = h.value"
        f" JOIN {_FIRES} f ON f.schedule_id = s.id"
    )
    of_a_schedule = f"WHERE h.released_at IS NULL AND h.scope = '{Scope.SCHEDULE}'"
    return (
        f"({table}.id IN (SELECT f.id {fires} {of_a_schedule})"
        f" OR ({table}.template_version_id IS NOT NULL"
        f" AND {table}.template_version_id IN ({templates}))"
        f" OR ({table}.batch_id IS NOT NULL AND {table}.batch_id IN"
        f" (SELECT b.id {fires} JOIN {_BATCHES} b ON b.run = f.id {of_a_schedule})))"
    )


def accounts() -> str:
    """Return an expression for the names of the accounts that are held, one a line."""
    names = (
        "string_agg(h.value, chr(10))"
        if connection.vendor == "postgresql"
        else "group_concat(h.value, char(10))"
    )
    return (
        f"(SELECT COALESCE({names}, '') FROM {_HOLDS} h"  # noqa: S608 -- as above
        f" WHERE h.released_at IS NULL AND h.scope = '{Scope.ACCOUNT}')"
    )


def _in_order() -> str:
    """Have a statement lock the table of holds, before its snapshot: see ``holds.changing``."""
    return " FOR KEY SHARE" if connection.features.has_select_for_update else ""
