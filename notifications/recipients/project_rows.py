"""What a project has set for its recipients: categories, delivery windows and throttles.

Few and rarely changed, so each process keeps them for a moment, and reads all three by one
statement: to read each by its own cost three round trips, and more processor time than a send.
"""

import time
from collections import defaultdict
from functools import cache
from typing import NamedTuple

from django.db import connection

from notifications.core.world import World
from notifications.db import planned
from notifications.models import Category, DeliveryWindow, Throttle

KEPT_FOR = 1.0  # seconds for which a process believes what it has read

_CATEGORY, _WINDOW, _THROTTLE = "category", "window", "throttle"
_READ = (
    (
        _CATEGORY,
        Category,
        'name, title, description, required, "default", CAST(channel_defaults AS text)',
    ),
    (
        _WINDOW,
        DeliveryWindow,
        "category, template, begins, ends, CAST(days AS text), holidays, timezone, country,"
        " spread, if_late, late_channel, late_template",
    ),
    (_THROTTLE, Throttle, 'id, category, channel, "limit", period, local_day, rest, template'),
)


class Rows(NamedTuple):
    """The rows of each table, in no order: each a JSON array of the columns in ``_READ``.

    SQLite writes truth values as 0 and 1. Columns of JSON are texts.
    """

    categories: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    throttles: tuple[str, ...] = ()


_kept: dict[World, tuple[float, Rows]] = {}


def of(world: World) -> Rows:
    """Return what a project has, at most ``KEPT_FOR`` old."""
    now = time.monotonic()
    until, rows = _kept.get(world, (0.0, Rows()))
    if now >= until:
        rows = _read(world)
        _kept[world] = (now + KEPT_FOR, rows)
    return rows


def renew(world: World, since: float) -> bool:
    """Read again at the next use if the rows were read before this ``time.monotonic``.

    Return whether they were.
    """
    until, _ = _kept.get(world, (0.0, Rows()))
    if until - KEPT_FOR >= since:
        return False
    _kept.pop(world, None)
    return True


def forget() -> None:
    """Read again at the next use."""
    _kept.clear()


def _read(world: World) -> Rows:
    found: dict[str, list[str]] = defaultdict(list)
    for kind, row in _statement(connection.vendor).rows(*world * len(_READ)):
        found[kind].append(row)
    return Rows(*(tuple(found[kind]) for kind in (_CATEGORY, _WINDOW, _THROTTLE)))


@cache
def _statement(vendor: str) -> planned.Statement:
    array = "json_build_array" if vendor == "postgresql" else "json_array"
    return planned.Statement(
        " UNION ALL ".join(
            f"SELECT '{kind}', CAST({array}({columns}) AS text) FROM {model._meta.db_table}"  # noqa: S608 -- our own words and placeholders
            " WHERE project = %s AND test = %s"
            for kind, model, columns in _READ
        )
    )
