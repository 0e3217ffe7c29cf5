"""Finding notifications by what identifies them: one index probe each, however many there are."""

import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar
from uuid import UUID

from django.db.models import QuerySet

from notifications.models import Attempt, NotificationRecord
from notifications.recipients import spellings
from notifications.submission import projects

Record = TypeVar("Record", bound=NotificationRecord)

MOST = 1000  # rows of one recipient or reference that a search shows
RECENT = 50_000  # rows, the newest, of which a part of the recipient is looked for
SHORTEST = 3  # characters of such a part


def find(rows: "QuerySet[Record]", term: str, *, parts: bool = False) -> set[UUID]:
    """Return those with this exact id, recipient, reference, idempotency key or provider's id.

    Where there is none and ``parts`` are allowed, those of the newest whose recipient contains it.
    """
    ids = {id_ for probe in _probes(rows, term) for id_ in islice(probe, MOST)}
    if ids or not parts or len(term) < SHORTEST:
        return ids
    alike = rows.order_by().filter(recipient__icontains=term)
    # The first of the newest, so that the planner walks no further than there.
    for oldest in rows.order_by("-id").values_list("id", flat=True)[RECENT : RECENT + 1]:
        alike = alike.filter(id__gt=oldest)
    return set(alike.values_list("id", flat=True)[:MOST])


def _probes(every: "QuerySet[Record]", term: str) -> Iterator[Iterator[UUID]]:
    rows = every.order_by("-id").values_list("id", flat=True)
    with contextlib.suppress(ValueError):
        yield iter([UUID(term)])
    # An ordering would tempt the planner to walk the primary key instead of the probe.
    for recipient in spellings.kept(every.model, term):
        yield rows.order_by().filter(recipient=recipient)[:MOST].iterator()
    yield rows.order_by().filter(reference=term).exclude(reference="")[:MOST].iterator()
    worlds = {"project__in": projects.names(), "test__in": (False, True)}  # the index begins so
    keyed = rows.order_by().filter(idempotency_key=term, **worlds)
    yield keyed.exclude(idempotency_key="")[:MOST].iterator()
    given = Attempt.objects.filter(provider_message_id=term).exclude(provider_message_id="")
    yield given.order_by().values_list("notification_id", flat=True)[:MOST].iterator()
