"""Finding notifications by what identifies them: one index probe each, however many there are."""

import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar
from uuid import UUID

from django.db.models import QuerySet

from notifications.models import NotificationRecord
from notifications.recipients import spellings
from notifications.submission import projects

Record = TypeVar("Record", bound=NotificationRecord)

MOST = 1000  # rows of one recipient or reference that a search shows


def find(rows: "QuerySet[Record]", term: str) -> set[UUID]:
    """Return those with this exact id, recipient, reference or idempotency key."""
    return {id_ for found in _probes(rows, term) for id_ in islice(found, MOST)}


def _probes(every: "QuerySet[Record]", term: str) -> Iterator[Iterator[UUID]]:
    rows = every.order_by("-id").values_list("id", flat=True)
    with contextlib.suppress(ValueError):
        yield iter([UUID(term)])
    # An ordering would tempt the planner to walk the primary key instead of the probe.
    for recipient in spellings.of(term):
        yield rows.order_by().filter(recipient=recipient)[:MOST].iterator()
    yield rows.order_by().filter(reference=term).exclude(reference="")[:MOST].iterator()
    mine = {"project__in": projects.names(), "test__in": (False, True)}  # the index begins so
    keyed = rows.order_by().filter(idempotency_key=term, **mine)
    yield keyed.exclude(idempotency_key="")[:MOST].iterator()
