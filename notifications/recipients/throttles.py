"""Throttles of a project: checked, kept, and found for a send.

``project_rows`` keeps them for a moment; where a project has none, asking costs nothing.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.conf import settings

from notifications.core.digests import ITS_CONTEXT, context_of
from notifications.core.errors import InvalidContext, InvalidField, UnknownTemplate
from notifications.core.text import shown
from notifications.core.throttles import Duration, LocalDay, Period, Rest, Terms
from notifications.core.world import World
from notifications.models import Throttle
from notifications.models.recipient import ADDRESSED
from notifications.recipients import categories, project_rows
from notifications.recipients.categories import Kind
from templates_engine import catalog
from templates_engine.errors import TemplateError

MOST = 1000  # in a period
SHORTEST, LONGEST = 1, 30 * 86_400  # seconds of a period
FIELDS = ("limit", "period", "rest", "template")
DAY = "local day"  # in place of seconds: a day of the calendar where the recipient is

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,9})\s?([smhd])")


class Limit(NamedTuple):
    """A throttle as a send needs it; ``period`` is in seconds, None for days of the calendar."""

    id: int
    limit: int
    period: int | None
    rest: str
    template: str

    def __str__(self) -> str:
        """Return it as people say it, like ``3 in 1d``."""
        return f"{self.limit} in {DAY if self.period is None else _written(self.period)}"

    def terms_in(self, timezone: str) -> Terms:
        """Return what it says where the recipient is, by default in ``TIME_ZONE``."""
        period: Period
        if self.period is None:
            period = LocalDay(ZoneInfo(timezone or settings.TIME_ZONE))
        else:
            period = Duration(self.period)
        return Terms(self.limit, period, self.rest)


Limits = tuple[Limit, ...]


def of(world: World, kind: Kind | None, channel: str) -> Limits:
    """Return the throttles of a notification: its channel's, else those of all channels together.

    What recipients cannot refuse has none.
    """
    if kind is None or kind.required:
        return ()
    known = _read(project_rows.of(world).throttles)
    return known.get((kind.name, channel)) or known.get((kind.name, ""), ())


@lru_cache(maxsize=1024)
def _read(rows: tuple[str, ...]) -> Mapping[tuple[str, str], Limits]:
    """Return a project's throttles by category and channel: shorter periods first, then days."""
    read = [json.loads(row) for row in rows]
    known: dict[tuple[str, str], Limits] = {}
    for id_, category, channel, limit, seconds, local_day, rest, template in sorted(
        read, key=lambda columns: (columns[5], columns[4])
    ):
        one = Limit(id_, limit, None if local_day else seconds, rest, template)
        known[category, channel] = (*known.get((category, channel), ()), one)
    return known


def read_period(given: object) -> tuple[int, bool]:
    """Return a period's seconds, and whether it is a local day. Raises ``InvalidField``.

    It is given in seconds, as text like ``1h``, or as ``DAY``.
    """
    if isinstance(given, str):
        text = given.strip().lower()
        if text == DAY:
            return _UNITS["d"], True
        if written := _DURATION.fullmatch(text):
            given = int(written[1]) * _UNITS[written[2]]
        elif text.isdecimal() and len(text) < 10:
            given = int(text)
    return _check_seconds(given), False


def period_of(row: Throttle) -> int | str:
    """Return a throttle's period as ``read_period`` reads it: seconds, or ``DAY``."""
    return DAY if row.local_day else row.period


def _written(seconds: int) -> str:
    """Return a period as ``read_period`` reads it, in the largest unit that it is whole in."""
    unit = max((u for u, size in _UNITS.items() if seconds % size == 0), key=_UNITS.__getitem__)
    return f"{seconds // _UNITS[unit]}{unit}"


def _check_seconds(given: object) -> int:
    is_whole = isinstance(given, int) and not isinstance(given, bool)
    if not is_whole or not SHORTEST <= given <= LONGEST:  # type: ignore[operator]  # a number
        raise InvalidField(
            f"There is no period {shown(given)}.",
            field="period",
            hint=f"Give seconds from {SHORTEST} to {LONGEST}, a text like 30m, 1h or 7d, or {DAY}.",
        )
    return int(given)  # type: ignore[call-overload, no-any-return]  # as above


def _check_limit(given: object) -> None:
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= MOST:
        raise InvalidField(f"It must be a whole number from 1 to {MOST}.", field="limit")


def check(row: Throttle) -> None:
    """Check a throttle. Raises a subclass of ``InvalidNotification``, which names the field."""
    world = World(row.project, row.test)
    kind = categories.require(row.category, world)
    if kind.required:
        raise InvalidField(f"The category {kind.name} is always sent at once.", field="category")
    if row.channel and row.channel not in ADDRESSED:
        raise InvalidField(f"It must be one of: {', '.join(ADDRESSED)}.", field="channel")
    _check_limit(row.limit)
    _check_seconds(row.period)
    if row.rest not in set(Rest):
        raise InvalidField(f"It must be one of: {', '.join(Rest)}.", field="rest")
    if row.rest != Rest.DIGEST:
        if row.template:
            raise InvalidField("Only a digest has a template.", field="template")
        return
    if not row.channel:
        raise InvalidField("A digest needs a channel.", field="channel")
    if not row.template:
        raise InvalidField("A digest needs a template.", field="template", hint=ITS_CONTEXT)
    try:
        version = catalog.published(row.template, world.namespaces)
    except TemplateError as error:
        raise UnknownTemplate(str(error), field="template", hint=error.hint) from None
    if version.channel != row.channel:
        raise UnknownTemplate(
            f"Template {shown(row.template)} is for {version.channel}.", field="template"
        )
    if missing := sorted(version.required - context_of([], 0).keys()):
        raise InvalidContext(
            f"Template {shown(row.template)} needs {', '.join(missing)}.",
            field="template",
            hint=ITS_CONTEXT,
        )


def save(row: Throttle) -> bool:
    """Save a throttle in place of the one of its category, channel and period.

    Return whether it is new. Raises as ``check``.
    """
    check(row)
    kept, created = Throttle.objects.update_or_create(
        project=row.project,
        test=row.test,
        category=row.category,
        channel=row.channel,
        period=row.period,
        local_day=row.local_day,
        defaults={name: getattr(row, name) for name in FIELDS},
    )
    row.pk = kept.pk
    forget()
    return created


def forget() -> None:
    """Look again at the next use."""
    project_rows.forget()
