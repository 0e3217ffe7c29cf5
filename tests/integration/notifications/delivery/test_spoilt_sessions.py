"""A provider may do what it likes with the session of its thread; outcomes are recorded at once."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from notifications.channels import kinds
from notifications.channels.base import Provider
from notifications.core.attempt import Outcome, Result
from notifications.delivery import claims, pipeline
from notifications.models import Notification, ProviderAccount, Status
from notifications.providers import accounts, health
from notifications.submission import send_many
from scheduling import watch
from tests.spoiling import harms_of_this_database

OUTCOMES = {
    "sent": (Outcome(Result.SENT), Status.SENT),
    "refused": (Outcome(Result.PERMANENT, code="550"), Status.FAILED),
}


class Spoiling(Provider):
    """Spoils the session with its first message, and tells what came of each."""

    kind = "spoiling"
    channels = ("chat",)
    waits = False  # so that it is called by the thread that records
    harm: Callable[[], object]
    called: Counter[str] = Counter()

    def send_many(self, messages: Any) -> Iterator[Any]:
        for message in messages:
            if not self.called:
                type(self).harm()
            self.called[message.recipient] += 1
            yield message, OUTCOMES[message.recipient.partition("-")[0]][0]


@pytest.fixture
def _spoiling(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(kinds.KINDS, Spoiling.kind, f"{__name__}.Spoiling")
    kinds.provider_class.cache_clear()
    ProviderAccount.objects.create(name="spoiling", channel="chat", kind=Spoiling.kind)
    accounts.forget()
    health.forget()
    yield
    kinds.provider_class.cache_clear()
    accounts.forget()
    health.forget()
    connection.close()


@pytest.mark.usefixtures("_spoiling")
def test_what_a_provider_tells_is_recorded_at_its_first_attempt() -> None:
    for name, harm in harms_of_this_database().items():
        Spoiling.harm, Spoiling.called = staticmethod(harm), Counter()
        to = [f"{outcome}-{number}" for outcome in OUTCOMES for number in range(3)]
        batch = send_many(
            [{"recipient": recipient} for recipient in to], channel="chat", body="Hi"
        ).batch
        pipeline.deliver(claims.claim_due("chat", "medium", 10), worker="worker-1")
        connection.close()  # what was not committed is gone
        rows = Notification.objects.filter(batch=batch)
        found = {row.recipient: (row.status, row.attempt_count) for row in rows}
        assert (name, found) == (
            name,
            {recipient: (OUTCOMES[recipient[:-2]][1], 1) for recipient in to},
        )
        assert (name, set(Spoiling.called.values())) == (name, {1})
        assert watch.database.outage is None
