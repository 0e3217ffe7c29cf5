"""A rule as a job's definition has it: JSON, and what of it is due when. Pure."""

import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from celery.exceptions import ImproperlyConfigured
from celery.schedules import ParseException, crontab

from scheduling import recurrence
from scheduling.calendar_rules import ALIASES, BusinessDays, CronLine, RecurrenceRule, Window
from scheduling.job_schema import InvalidJob
from scheduling.recurrence import ImpossibleSchedule, Recurrence

Rule = dict[str, Any]
"""The ``schedule`` of a job's definition; see ``job_schema``."""

SUNDAY = re.compile(r"(?<![\d/#])7(?![\d])")
UP_TO_SUNDAY = re.compile(r"(?P<first>[0-7])-7(?:/(?P<step>\d{1,9}))?", re.ASCII)
STEP_OF_ZERO = re.compile(r"/0+$")
DAYS_OF_WEEK = re.compile(r"\w+(-\w+)?(/\d+)?|\w#\d")
EXTENDED_WEEKDAY = re.compile(r"#|\d[lL]")
HOST_ZONES = {"localtime", "posixrules", "Factory"}
"""Files beside IANA's zones: the host's own zone, its default rules, and none at all."""
HOST_FOLDERS = ("posix/", "right/")
"""Copies of IANA's zones; those of ``right`` count leap seconds."""
SHORTEST_INTERVAL = timedelta(seconds=1)
"""Of what people make: a shorter one would keep the schedulers from all others."""


JUST_NOW = timedelta(minutes=1)
"""A moment that has passed by no more is not refused: it was now when it was written."""

WRAPPING = ("between", "holidays", "calendar", "business_days")
"""Keys that leave out or move due times of any kind of rule."""


def recurrence_of(rule: Rule, origin: datetime) -> Recurrence:
    """Read a rule; an interval, or an RRULE, counts from ``origin``.

    Raises ``InvalidJob`` naming the field, or ``ImpossibleSchedule``.
    """
    kind = next(kind for kind in _KINDS if kind in rule)
    try:
        return _wrapped(rule, _KINDS[kind](rule, origin))
    except (InvalidJob, ImpossibleSchedule):
        raise
    except (ValueError, TypeError, OverflowError, ParseException, ImproperlyConfigured) as error:
        raise ImpossibleSchedule(str(error)) from error


def is_plain(rule: Rule) -> bool:
    """Return whether a rule is all that a row of django-celery-beat's can hold."""
    if "rrule" in rule or any(key in rule for key in WRAPPING):
        return False
    return "cron" not in rule or _is_plain_line(rule)


def cron_fields(rule: Rule) -> list[str]:
    """Return the fields of a crontab line: five, or with ``seconds`` six. Names are written out.

    Raises ``InvalidJob``.
    """
    line = rule["cron"].strip()
    if line.startswith("@") and line.lower() not in ALIASES:
        known = ", ".join(ALIASES)
        raise InvalidJob(f"{line!r} is not one of {known}.", field="schedule.cron")
    fields: list[str] = ALIASES.get(line.lower(), line).split()
    wanted = 6 if rule.get("seconds") else 5
    if len(fields) != wanted:
        six = "six: second " if wanted == 6 else "five: "
        hint = (
            "" if wanted == 6 or len(fields) != 6 else ' (for a field of seconds: "seconds": true)'
        )
        raise InvalidJob(
            f"The crontab line {rule['cron']!r} has {len(fields)} fields; it needs {six}"
            f"minute hour day-of-month month day-of-week{hint}.",
            field="schedule.cron",
        )
    for part in ",".join(fields).split(","):
        if STEP_OF_ZERO.search(part):
            why = f"{rule['cron']!r}: the step of {part!r} must be 1 or more."
            raise InvalidJob(why, field="schedule.cron")
    fields[-1] = ",".join(_days_of_week(part) for part in fields[-1].split(","))
    return fields


def _days_of_week(part: str) -> str:
    """Write 7 as 0; days up to Sunday, such as ``5-7/2``, are written out (crontab(5))."""
    match = UP_TO_SUNDAY.fullmatch(part)
    if match is None:
        return SUNDAY.sub("0", part) if DAYS_OF_WEEK.fullmatch(part) else part
    days = [*range(int(match["first"]), 8, int(match["step"] or 1))]
    return "0-6" if len(days) == 8 else ",".join(dict.fromkeys(str(day % 7) for day in days))


def zone_of(rule: Rule) -> ZoneInfo:
    """Return the zone of a rule; the default is UTC. Raises ``InvalidJob``."""
    name = rule.get("timezone", "UTC")
    if name in HOST_ZONES or name.startswith(HOST_FOLDERS):
        raise InvalidJob(
            f"The zone {name!r} is not IANA's, or means another on each host; "
            "name one like UTC or Europe/Berlin.",
            field="schedule.timezone",
        )
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidJob(
            f"There is no zone {name!r}; name an IANA zone.", field="schedule.timezone"
        ) from error


def length_of(rule: Rule) -> timedelta:
    """Return the length of an interval. Raises ``InvalidJob``."""
    try:
        length = timedelta(seconds=rule["every"])
    except OverflowError as error:
        raise InvalidJob("The interval is too long.", field="schedule.every") from error
    if length < SHORTEST_INTERVAL:
        raise InvalidJob("An interval must be at least one second.", field="schedule.every")
    return length


def moment_of(text: str, *, field: str) -> datetime:
    """Read an ISO 8601 moment with its offset. Raises ``InvalidJob``, naming ``field``."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidJob(f"{text!r} is not a moment in ISO 8601.", field=field) from error
    if moment.tzinfo is None:
        raise InvalidJob(f"{text!r} has no UTC offset; add one, e.g. +00:00.", field=field)
    try:
        moment.astimezone(UTC)
    except OverflowError as error:
        raise InvalidJob(f"{text!r} is out of the calendar's range.", field=field) from error
    return moment


def refuse_past(definition: dict[str, Any], keys: Collection[str], now: datetime) -> None:
    """Raise ``InvalidJob`` for a moment that is past, of those ``keys`` that are written.

    A job that is there already may keep its moment when that has passed.
    """
    moments = {
        ("schedule", "schedule.at"): definition["schedule"].get("at"),
        ("expires", "expires"): definition.get("expires"),
    }
    for (key, field), text in moments.items():
        if key in keys and text is not None and moment_of(text, field=field) < now - JUST_NOW:
            raise InvalidJob(f"{text!r} is past.", field=field)


def begin_of(rule: Rule, origin: datetime) -> datetime:
    """Return the moment that an RRULE counts from, in UTC or with the offset of its ``from``.

    It is the second of ``from``, else the minute of ``origin``.
    Of two equal minutes in autumn it is the first, for the day's due time may have been in it.

    Raises ``InvalidJob`` where its due times are counted and it does not say from when:
    ``origin`` moves on with each of them.
    """
    text = rule.get("from")
    if text is None and "COUNT=" in str(rule["rrule"]).upper():
        raise InvalidJob("A rule with COUNT needs a moment to count from.", field="schedule.from")
    if text is None:
        local = origin.astimezone(zone_of(rule)).replace(second=0, microsecond=0, fold=0)
        return local.astimezone(UTC)
    return moment_of(text, field="schedule.from").replace(microsecond=0)


def _is_plain_line(rule: Rule) -> bool:
    if rule.get("seconds") or rule.get("days", "and") != "and":
        return False
    *_, day_of_month, _month, day_of_week = cron_fields(rule)
    return not (set("LW") & set(day_of_month.upper()) or EXTENDED_WEEKDAY.search(day_of_week))


def _crontab(rule: Rule, _: datetime) -> Recurrence:
    fields = tuple(cron_fields(rule))
    zone, line = zone_of(rule), " ".join(fields)
    try:
        if _is_plain_line(rule):
            return _parsed(fields, zone)
        return _extended(line, zone, rule.get("days") == "or")
    except (ValueError, ParseException) as error:
        why = str(error).removeprefix(f"{line!r}: ")
        raise ImpossibleSchedule(f"{rule['cron']!r}: {why}") from error


@lru_cache(maxsize=1024)
def _extended(line: str, zone: ZoneInfo, any_day: bool) -> CronLine:  # noqa: FBT001 -- cached
    return CronLine(line, zone, any_day)


@lru_cache(maxsize=256)
def _rrule(text: str, zone: ZoneInfo, begin: datetime) -> RecurrenceRule:
    return RecurrenceRule(text, zone, begin)


def _wrapped(rule: Rule, recurrence: Recurrence) -> Recurrence:
    """Leave out or move the due times that a window or a calendar does not allow."""
    zone = zone_of(rule)
    if "between" in rule:
        begin, end = (_time_of_day(text) for text in rule["between"])
        if begin == end:
            raise InvalidJob("A window needs two times.", field="schedule.between")
        recurrence = Window(recurrence, begin, end, zone)
    if any(rule.get(key) for key in ("holidays", "calendar", "business_days")):
        recurrence = BusinessDays(
            recurrence,
            zone,
            country=rule.get("holidays", ""),
            calendar=rule.get("calendar", ""),
            weekends=bool(rule.get("business_days")),
            roll=rule.get("on_holiday", "skip"),
        )
        recurrence.free(datetime.now(zone).date())  # refuses an unknown country
    return recurrence


def _time_of_day(text: str) -> time:
    try:
        moment = time.fromisoformat(text)
    except ValueError as error:
        raise InvalidJob(
            f"{text!r} is not a time of day; write 08:00.", field="schedule.between"
        ) from error
    if moment.tzinfo is not None:
        raise InvalidJob("The zone is the rule's own.", field="schedule.between")
    return moment


@lru_cache(maxsize=4096)
def _parsed(fields: tuple[str, ...], zone: ZoneInfo) -> recurrence.Crontab:
    minute, hour, day_of_month, month, day_of_week = fields
    return recurrence.Crontab.from_celery(
        crontab(minute, hour, day_of_week, day_of_month, month), zone
    )


_KINDS: dict[str, Callable[[Rule, datetime], Recurrence]] = {
    "cron": _crontab,
    "every": lambda rule, origin: recurrence.Interval(length_of(rule), origin),
    "at": lambda rule, _: recurrence.Once(moment_of(rule["at"], field="schedule.at")),
    "rrule": lambda rule, origin: _rrule(rule["rrule"], zone_of(rule), begin_of(rule, origin)),
    "solar": lambda rule, _: recurrence.Solar(
        rule["solar"], float(rule["latitude"]), float(rule["longitude"])
    ),
}
