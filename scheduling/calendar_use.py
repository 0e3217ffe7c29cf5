"""Who goes by a calendar, and what another file would change for them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from django_celery_beat.models import PeriodicTask

from scheduling import calendar_moves, chosen_backend, isolation, preview, rule_documents, rules
from scheduling.calendar_moves import Move
from scheduling.calendars import Calendar
from scheduling.clock import database_now
from scheduling.kept.documents import Job
from scheduling.kept.ticks import Ticks
from scheduling.recurrence import ImpossibleSchedule
from scheduling.rule_documents import Rule
from scheduling.timetable import Timetable

NEXT_FIRES = 3
UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class User:
    """A schedule that goes by a calendar. ``key`` is its row's; ``None``: it has none.

    ``fault`` says why it has no timetable.
    """

    name: str
    key: int | None = None
    is_enabled: bool = True
    zone: ZoneInfo = UTC
    timetable: Timetable | None = None
    next_fires: Sequence[datetime] = ()
    fault: str = ""


@dataclass(slots=True)
class Users:
    """The schedules that go by a calendar, by name; ``hidden`` counts those that were not read."""

    read: list[User] = field(default_factory=list)
    hidden: int = 0


def users_of(calendar: str, most: int | None = None) -> Users:
    """Return the schedules that go by a calendar, those of the database first."""
    readers: list[Callable[[], User | None]] = [*_of_rows(calendar)]
    backend = chosen_backend.current()
    if isinstance(backend, Ticks):
        readers += _of_backend(backend, calendar)
    shown = readers if most is None else readers[:most]
    users = [user for user in (read() for read in shown) if user is not None]
    return Users(users, hidden=len(readers) - len(shown))


def moves(
    users: Sequence[User], name: str, calendar: Calendar, days: int
) -> list[tuple[User, list[Move]]]:
    """Return what moves within ``days`` from now if ``calendar`` stands under this name.

    By schedule; those of which nothing moves, and the paused, are left out. Raises
    ``ImpossibleSchedule`` if the calendar that stands there now cannot be read.
    """
    now = database_now()
    found = [
        (user, calendar_moves.moves(user.timetable, name, calendar, now, days))
        for user in users
        if user.timetable is not None and user.is_enabled
    ]
    return [(user, moved) for user, moved in found if moved]


def _of_rows(calendar: str) -> Iterator[Callable[[], User | None]]:
    named = PeriodicTask.objects.filter(firing__recurrence__rule__calendar=calendar)
    for key, name in named.order_by("name").values_list("pk", "name"):
        yield partial(_of_row, key, name, calendar)


def _of_row(key: int, name: str, calendar: str) -> User | None:
    """Read one by its key; ``None`` if somebody has changed its rule since."""
    try:
        task = PeriodicTask.objects.select_related("firing", *rules.KINDS).get(pk=key)
        rule = rules.own_rule(task, task.firing.recurrence)
        if rule is None or rule.get("calendar") != calendar:
            return None
        now = database_now()
        _, timetable = preview.planned(task, now, task.firing)
        return _user(name, key, rule, timetable, now, is_enabled=task.enabled)
    except PeriodicTask.DoesNotExist:
        return None
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
        return User(name, key, fault=_said(error))


def _of_backend(backend: Ticks, calendar: str) -> Iterator[Callable[[], User | None]]:
    now = backend.now()
    for job in backend.jobs(backend.names()):
        if job.handler and job.rule.get("calendar") == calendar:
            yield partial(_of_job, job, now)


def _of_job(job: Job, now: datetime) -> User:
    try:
        return _user(job.name, None, job.rule, job.timetable, now, is_enabled=job.enabled)
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
        return User(job.name, fault=_said(error))


def _user(
    name: str,
    key: int | None,
    rule: Rule,
    timetable: Timetable,
    now: datetime,
    *,
    is_enabled: bool,
) -> User:
    fires = timetable.upcoming(now, NEXT_FIRES) if is_enabled else []
    return User(name, key, is_enabled, rule_documents.zone_of(rule), timetable, fires)


def _said(error: Exception) -> str:
    """Say why a schedule cannot be read; of what is not our own words only the class."""
    return str(error) if isinstance(error, ImpossibleSchedule) else type(error).__name__
