"""Delivery windows: when a notification that is due may reach its recipient.

``opens_at`` and ``plan`` are pure. ``project_rows`` keeps a project's windows for a moment; where
there are none, asking costs nothing.
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings

from notifications.core.errors import InvalidField, InvalidWindow, UnknownTemplate
from notifications.core.text import shown
from notifications.core.world import World
from notifications.models import DeliveryWindow
from notifications.models.delivery_window import DAYS, LONGEST_SPREAD
from notifications.models.recipient import ADDRESSED
from notifications.recipients import categories, places, project_rows
from notifications.recipients.categories import Kind
from notifications.recipients.places import Place
from scheduling.calendar_rules import holiday_on
from templates_engine import catalog
from templates_engine.errors import TemplateError

LOOKED_AHEAD = 400  # days for an opening: more than any row of holidays

FIELDS = (
    *("begins", "ends", "days", "holidays", "timezone", "country", "spread"),
    *("if_late", "late_channel", "late_template"),
)


class Window(NamedTuple):
    """A delivery window as a send needs it; ``spread`` is in minutes."""

    begins: time_of_day
    ends: time_of_day
    days: frozenset[int]
    holidays: bool
    timezone: str
    country: str
    spread: int
    if_late: str
    late_channel: str = ""
    late_template: str = ""


class Step(StrEnum):
    """What becomes of a notification that is due."""

    GO = "go"
    WAIT = "wait"
    DROP = "drop"
    CHANNEL = "channel"  # go by another channel


class Plan(NamedTuple):
    """The step, and for one that waits until when."""

    step: Step
    due_at: datetime | None = None


GO = Plan(Step.GO)
_LATE: dict[str, Plan] = {
    DeliveryWindow.IfLate.DROP: Plan(Step.DROP),
    DeliveryWindow.IfLate.SEND: GO,
    DeliveryWindow.IfLate.CHANNEL: Plan(Step.CHANNEL),
}


def plan(
    window: Window,
    place: Place,
    id_: UUID,
    *,
    channel: str,
    due_at: datetime,
    expires_at: datetime | None,
) -> Plan:
    """Return what becomes of a notification that is due then on this channel.

    One that waits is due in the window's first minutes, at a moment that follows from its id (that
    of its run for a chain's step), so that not all come at once. One that would be late goes at
    once where its channel is the one by which the window has it go then.
    """
    late = GO if channel == window.late_channel else _LATE[window.if_late]
    opens, closes = opens_at(window, place, due_at)
    if opens is None or closes is None:
        return late
    if opens <= due_at:
        return GO
    room = min(timedelta(minutes=window.spread), (closes - opens) / 2)
    moved = opens + room * _share(id_)
    if expires_at is not None and expires_at <= moved:
        return late
    return Plan(Step.WAIT, moved)


OPENINGS = 1024  # that a process remembers: sends are due about now, in few places
_openings: dict[tuple[Window, Place], tuple[datetime, datetime, datetime]] = {}


def opens_at(
    window: Window, place: Place, moment: datetime
) -> tuple[datetime, datetime] | tuple[None, None]:
    """Return the first time from ``moment`` on at which it is open, and when it closes then.

    ``moment`` itself if it is open; None for a window that does not open within a year.
    """
    asked, opens, closes = _openings.get((window, place), (moment, moment, moment))
    if asked <= moment < closes:  # until then it is the opening that was found before
        return max(opens, moment), closes
    opens_, closes_ = _opening_from(window, place, moment)
    if opens_ is None or closes_ is None:
        return None, None
    if len(_openings) >= OPENINGS:
        _openings.clear()
    _openings[window, place] = (moment, opens_, closes_)
    return opens_, closes_


def _opening_from(
    window: Window, place: Place, moment: datetime
) -> tuple[datetime, datetime] | tuple[None, None]:
    zone = ZoneInfo(place.timezone or window.timezone or settings.TIME_ZONE)
    country = place.country or window.country
    today = moment.astimezone(zone).date()
    for number in range(-1, LOOKED_AHEAD):  # from yesterday: it may close after midnight
        day = today + timedelta(days=number)
        if day.weekday() not in window.days:
            continue
        if country and not window.holidays and holiday_on(day, country):
            continue
        opens, closes = _of_day(window, day, zone)
        if moment < closes and opens < closes:
            return max(opens, moment), closes
    return None, None


def _of_day(window: Window, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    last = day if window.ends > window.begins else day + timedelta(days=1)
    return (
        datetime.combine(day, window.begins, zone).astimezone(UTC),
        datetime.combine(last, window.ends, zone).astimezone(UTC),
    )


def _share(id_: UUID) -> float:
    """Return a number from 0 to 1 that follows from an id, evenly over many of them."""
    return int.from_bytes(blake2b(id_.bytes, digest_size=4).digest()) / 2**32


def of(world: World, kind: Kind | None, template: str) -> Window | None:
    """Return the window for a notification: its template's, else its category's, None for none.

    What recipients cannot refuse waits for no window.
    """
    known = _by_name(project_rows.of(world).windows)
    if not known or (kind is not None and kind.required):
        return None
    of_template = known.get(("", template)) if template else None
    return of_template or (known.get((kind.name, "")) if kind is not None else None)


def has_any(world: World) -> bool:
    """Return whether a project has a window at all."""
    return bool(project_rows.of(world).windows)


def renew(world: World, since: float) -> bool:
    """Look again if a project's windows were read before this moment of ``time.monotonic``.

    Return whether they were. What a kept window would hold back is held back by the one that
    stands now: it may have been changed a moment ago.
    """
    return project_rows.renew(world, since)


@lru_cache(maxsize=1024)
def _by_name(rows: tuple[str, ...]) -> Mapping[tuple[str, str], Window]:
    """Return a project's windows by category and template, one of which is empty."""
    known = {}
    for category, template, begins, ends, days, holidays, *others in map(json.loads, rows):
        known[category, template] = Window(
            time_of_day.fromisoformat(begins),
            time_of_day.fromisoformat(ends),
            frozenset(map(DAYS.index, json.loads(days))),
            bool(holidays),
            *others,
        )
    return known


def _read(row: DeliveryWindow) -> Window:
    values = {name: getattr(row, name) for name in FIELDS}
    return Window(**{**values, "days": frozenset(DAYS.index(day) for day in row.days)})


def check(row: DeliveryWindow) -> None:
    """Check a window. Raises a subclass of ``InvalidNotification``, which names the field."""
    if bool(row.category) == bool(row.template):
        raise InvalidField("Name a category or a template, not both.", field="category")
    if row.category:
        kind = categories.require(row.category, World(row.project, row.test))
        if kind.required:
            raise InvalidField(
                f"The category {kind.name} is always sent at once.", field="category"
            )
    elif not row.pk and not catalog.is_known(row.template, World(row.project, row.test).namespaces):
        raise UnknownTemplate(f"There is no template {shown(row.template)}.", field="template")
    for name in ("begins", "ends"):
        if not isinstance(getattr(row, name), time_of_day) or getattr(row, name).tzinfo:
            raise InvalidField("It must be a local time like 08:00.", field=name)
    days = row.days
    allowed = f"Use some of: {', '.join(DAYS)}."
    if not isinstance(days, list):
        raise InvalidField("It must be a list of days.", field="days", hint=allowed)
    if unknown := [day for day in days if day not in DAYS]:
        raise InvalidField(f"There is no day {shown(unknown[0])}.", field="days", hint=allowed)
    if not days:
        raise InvalidWindow("It must open on at least one day.", field="days")
    places.check_timezone(row.timezone)
    places.check_country(row.country)
    if not isinstance(row.spread, int) or not 0 <= row.spread <= LONGEST_SPREAD:
        raise InvalidField(f"It must be 0 to {LONGEST_SPREAD} minutes.", field="spread")
    if row.if_late not in DeliveryWindow.IfLate.values:
        raise InvalidField(
            f"It must be one of: {', '.join(DeliveryWindow.IfLate.values)}.", field="if_late"
        )
    _check_late(row)
    opens, _ = opens_at(_read(row), Place(), datetime.now(UTC))
    if opens is None:
        raise InvalidWindow("It does not open within a year.", field="begins")


def _check_late(row: DeliveryWindow) -> None:
    """Check the other channel for what would be late."""
    if row.if_late != DeliveryWindow.IfLate.CHANNEL:
        if row.late_channel or row.late_template:
            field = "late_channel" if row.late_channel else "late_template"
            raise InvalidField("It is allowed only if if_late is channel.", field=field)
        return
    if row.late_channel not in ADDRESSED:
        raise InvalidField(
            "Name the channel to use instead.",
            field="late_channel",
            hint=f"Use one of: {', '.join(ADDRESSED)}.",
        )
    if not row.late_template:
        return
    try:
        version = catalog.published(row.late_template, World(row.project, row.test).namespaces)
    except TemplateError as error:
        raise UnknownTemplate(str(error), field="late_template", hint=error.hint) from None
    if version.channel != row.late_channel:
        raise UnknownTemplate(f"This template is for {version.channel}.", field="late_template")


def save(row: DeliveryWindow) -> bool:
    """Save the window of a category or template; return whether it is new. Raises as ``check``."""
    check(row)
    values = {name: getattr(row, name) for name in FIELDS}
    kept, created = DeliveryWindow.objects.update_or_create(
        project=row.project,
        test=row.test,
        category=row.category,
        template=row.template,
        defaults=values,
    )
    row.pk = kept.pk
    forget()
    return created


def forget() -> None:
    """Look again at the next use."""
    project_rows.forget()
    _openings.clear()
