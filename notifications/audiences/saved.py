"""Saved audiences: checked as they are saved, counted and previewed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import OperationalError

from notifications.audiences import filters, sql
from notifications.audiences.sql import Sql
from notifications.core.errors import InvalidField, UnknownAudience
from notifications.core.text import can_be_kept, shown
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.db import clock, dialect
from notifications.models import Audience
from notifications.models.preference import CATEGORY_HINT, is_category_name
from notifications.submission import projects
from scheduling import outages

SHOWN = 10  # recipients of a preview
MOST_SHOWN = 100
LONGEST_DESCRIPTION = 500
RESERVED = "preview"  # what the API has at the address of such an audience
COLUMNS = ("id", "locale", "timezone", "country")


class FilterTooSlow(OperationalError):
    """The database ended the search for whom a filter finds, for it took too long."""


@contextmanager
def searching() -> Iterator[None]:
    """Run a statement over whom a filter finds. Raises ``FilterTooSlow`` if it takes too long."""
    try:
        yield
    except OperationalError as error:
        outage = outages.of(error)
        if outage is None or outage.code != outages.STATEMENT_ENDED:
            raise
        raise FilterTooSlow(str(error)) from error.__cause__


@dataclass(frozen=True, slots=True)
class Preview:
    """How many recipients match, and some of them: their ``COLUMNS``, by their own ids."""

    count: int
    recipients: list[dict[str, Any]]


def save(audience: Audience) -> bool:
    """Save an audience by its name; return whether it is new.

    Raises ``InvalidField``, or what is wrong with its filter (``filters.read``).
    """
    check(audience)
    values = {"filter": audience.filter, "description": audience.description}
    row, created = Audience.objects.update_or_create(
        project=audience.project,
        test=audience.test,
        name=audience.name,
        defaults={**values, "updated_at": clock.now()},
    )
    audience.pk, audience.created_at, audience.updated_at = row.pk, row.created_at, row.updated_at
    return created


def check(audience: Audience) -> None:
    """Check an audience. Raises as ``save``."""
    name, description = audience.name, audience.description
    if not isinstance(name, str) or name == RESERVED or not is_category_name(name):
        raise InvalidField(
            f"{shown(name)} is not a valid name of an audience.", field="name", hint=CATEGORY_HINT
        )
    is_kept = isinstance(description, str) and can_be_kept(description)
    if not is_kept or len(description) > LONGEST_DESCRIPTION:
        raise InvalidField(
            f"It must be text of at most {LONGEST_DESCRIPTION} characters.", field="description"
        )
    condition(audience.filter, audience.world)


def get(name: object, world: World, *, field: str = "audience") -> Audience:
    """Return a project's audience. Raises ``UnknownAudience``."""
    row = None
    if isinstance(name, str) and can_be_kept(name):
        row = Audience.objects.filter(**world.columns, name=name).first()
    if row is None:
        raise UnknownAudience(
            f"There is no audience {shown(name)}.",
            field=field,
            hint="GET /api/v1/audiences lists them; each project has its own, and so have its "
            "tests.",
        )
    return row


def condition(given: Any, world: World) -> Sql:
    """Return a filter as SQL over the recipients ``r`` of a project. Raises as ``filters.read``."""
    found = filters.read(given, world, clock.now())
    return Sql(f"r.project = %s AND r.test = %s AND ({found.text})", [*world, *found.parameters])


def count(given: Any, world: World) -> int:
    """Return how many recipients match a filter. Raises as ``filters.read`` and ``searching``."""
    where = condition(given, world)
    with searching():
        rows = dialect.all_of(
            f"SELECT COUNT(*) FROM {sql.TABLE} r WHERE {where.text}",  # noqa: S608 -- our own words and placeholders
            where.parameters,
        )
    return int(rows[0][0])


def preview(given: Any, world: World, limit: int = SHOWN) -> Preview:
    """Return how many recipients match a filter, and some of them. Raises as ``count``."""
    where = condition(given, world)
    columns = ", ".join(f"r.{name}" for name in ("key", *COLUMNS[1:]))
    with searching():
        rows = dialect.all_of(
            f"SELECT {columns} FROM {sql.TABLE} r WHERE {where.text} LIMIT %s",  # noqa: S608 -- as above
            [*where.parameters, min(limit, MOST_SHOWN)],
        )
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    return Preview(count(given, world), found)


def save_audience(
    name: str,
    filter: Mapping[str, Any],  # noqa: A002 -- as the API calls it
    *,
    description: str = "",
    project: str = DEFAULT_PROJECT,
    test: bool = False,
) -> Audience:
    """Save an audience under its name, or change it.

    Raises ``InvalidFilter``, ``UnindexedFilter`` or ``InvalidField``, which name the field.
    """
    world = World(projects.check(project), test)
    given: Any = filter  # which is checked
    row = Audience(**world.columns, name=name, description=description, filter=given)
    save(row)
    return row


def count_audience(name: str, *, project: str = DEFAULT_PROJECT, test: bool = False) -> int:
    """Return how many recipients an audience has now. Raises ``UnknownAudience``."""
    row = get(name, World(projects.check(project), test))
    return count(row.filter, row.world)


def preview_audience(
    name: str, *, limit: int = SHOWN, project: str = DEFAULT_PROJECT, test: bool = False
) -> Preview:
    """Return how many recipients an audience has, and up to 100 of them.

    Raises ``UnknownAudience``.
    """
    row = get(name, World(projects.check(project), test))
    return preview(row.filter, row.world, limit)


def delete_audience(name: str, *, project: str = DEFAULT_PROJECT, test: bool = False) -> None:
    """Delete an audience; a batch that has begun goes on. Raises ``UnknownAudience``."""
    get(name, World(projects.check(project), test)).delete()
