"""Exactly what an event causes: whoever is killed when, and whoever else does the same."""

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection, connections, transaction

from notifications import events
from notifications.delivery import claims
from notifications.models import Event, EventEffect, EventRule, Notification, Status
from tests.integration.notifications.events.conftest import REMINDER
from tests.servers.processes import Processes

THREADS = 6
WAITING = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
EMITTER = """
import itertools
import django
django.setup()
from notifications import events
for number in itertools.count():
    emission = events.emit(
        "invoice.issued", {"customers": ["ada", "bob"], "invoice": number}, key=str(number)
    )
    print("accepted", number, emission.id, flush=True)
"""


def together(work: Any, items: Any) -> list[Any]:
    """Work on the items in several threads, each with a connection of its own."""

    def one(item: Any) -> Any:
        try:
            return work(item)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, items))


def test_an_event_accepted_under_kills_causes_exactly_its_notifications(
    rule: Callable[..., EventRule], processes: Processes
) -> None:
    rule(recipients="data.customers")
    accepted: dict[str, str] = {}
    for kill in range(3):
        emitter = processes.start(
            "emitter", "python", "-c", EMITTER, DJANGO_SETTINGS_MODULE="config.settings"
        )
        emitter.wait_for_output(f"accepted {len(accepted) + 5 + 7 * kill} ")
        emitter.kill()
        for number, id_ in re.findall(r"(?m)^accepted (\d+) (\S{36})$", emitter.output()):
            assert accepted.setdefault(number, id_) == id_  # the same key, the same event
    committed = {str(pk): key for pk, key in Event.objects.values_list("pk", "key")}
    assert set(accepted.values()) <= committed.keys()
    assert len(committed) - len(accepted) <= 3  # one for each kill: committed, and not yet told
    for number in range(len(committed) + 3):
        events.emit(
            "invoice.issued", {"customers": ["ada", "bob"], "invoice": number}, key=str(number)
        )
    count = Event.objects.count()
    assert count == len(committed) + 3
    caused = Counter(EventEffect.objects.values_list("event", "outcome"))
    assert set(caused.values()) == {2}
    assert len(caused) == count
    sent = Counter(row.metadata["event"] for row in Notification.objects.all())
    assert (len(sent), set(sent.values())) == (count, {2})
    known = set(EventEffect.objects.values_list("notification_id", flat=True))
    assert known == set(Notification.objects.values_list("pk", flat=True))


def test_one_key_at_once_is_one_event(rule: Callable[..., EventRule]) -> None:
    rule()
    data = {"customer": "ada", "invoice": 7}
    made = together(
        lambda number: events.emit("invoice.issued", data, key=f"k{number % 5}").created, range(60)
    )
    assert sum(made) == Event.objects.count() == Notification.objects.count() == 5


def test_a_cancelling_event_and_a_claim_have_one_winner(rule: Callable[..., EventRule]) -> None:
    rule(**{**REMINDER, "delay": 0})
    invoices = range(40)
    for number in invoices:
        events.emit("invoice.issued", {"customer": "ada", "invoice": number})
    rows = list(Notification.objects.order_by("pk").values_list("pk", flat=True))

    def settle_or_claim(place: Any) -> list[Any]:
        number, claims_it = divmod(place, 2)
        if claims_it:
            return [claim.id for claim in claims.claim([rows[number]])]
        events.emit("payment.settled", {"paid": number})
        return []

    claimed = {id_ for ids in together(settle_or_claim, range(80)) for id_ in ids}
    ended = dict(EventEffect.objects.values_list("notification_id", "cancellation"))
    for row in Notification.objects.all():
        expected = (Status.SENDING, "too_late") if row.pk in claimed else ("cancelled", "cancelled")
        assert (row.status, ended[row.pk]) == expected
    assert len(ended) == 40


def test_an_event_that_cancels_waits_for_one_about_the_same_matter(
    rule: Callable[..., EventRule], wait_until: Callable[..., Any]
) -> None:
    rule(**REMINDER)
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        events.emit("invoice.issued", {"customer": "ada", "invoice": 7})  # not committed yet
        settling = pool.submit(together, _settle, [7])
        with connection.cursor() as cursor:
            wait_until(lambda: cursor.execute(WAITING) or cursor.fetchone())
        transaction.on_commit(lambda: settling.result(60))
    assert Notification.objects.get().status == Status.CANCELLED


def _settle(invoice: Any) -> None:
    events.emit("payment.settled", {"paid": invoice})
