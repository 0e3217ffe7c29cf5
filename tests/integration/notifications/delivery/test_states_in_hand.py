"""What is cancelled, paused or held while a worker has it in hand is not given to a provider."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from notifications.channels import kinds
from notifications.channels.base import Provider
from notifications.db import clock
from notifications.delivery import claims, in_hand, pipeline
from notifications.models import Notification, ProviderAccount, Status
from notifications.models.batch import Batch
from notifications.operations import batches, holds
from notifications.providers import accounts, health
from notifications.submission import send_many
from scheduling.models import Fire, Schedule
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
from tests.servers.process import wait_until


class Slow(Provider):
    """While it sends the first message, somebody calls off what is behind, which is given back."""

    kind = "slow"
    channels = ("chat",)
    at_once = 1
    sent: list[str] = []
    meanwhile: Callable[[], object] | None = None

    def send(self, message: Any) -> str:
        self.sent.append(message.recipient)
        if len(self.sent) == 1 and Slow.meanwhile is not None:
            Slow.meanwhile()
            wait_until(lambda: Notification.objects.filter(status=Status.SENDING).count() == 1)
        return ""


@pytest.fixture
def batch(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Batch]:
    """A batch of five by a template, made by a schedule's run, with a provider that is slow."""
    monkeypatch.setattr(in_hand, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(claims, "_holds_until", 0.0)
    monkeypatch.setitem(kinds.KINDS, "slow", f"{__name__}.Slow")
    kinds.provider_class.cache_clear()
    monkeypatch.setattr(Slow, "sent", [])
    monkeypatch.setattr(Slow, "meanwhile", None)
    ProviderAccount.objects.create(name="flock", channel="chat", kind="slow")
    accounts.forget()
    health.forget()
    template = Template.objects.create(name="news", channel="chat")
    publish(create_version(template, {"text": "Hello"}))
    every = IntervalSchedule.objects.create(every=1, period="days")
    task = PeriodicTask.objects.create(name="nightly", task="x", interval=every)
    schedule, _ = Schedule.objects.get_or_create(periodic_task=task)
    now = clock.now()
    fire = Fire.objects.create(schedule=schedule, scheduled_for=now, fire_at=now)
    rows = [{"channel": "chat", "recipient": f"#{n}", "template": "news"} for n in range(5)]
    yield send_many(rows, batch=batches.of_run(str(fire.id))).batch
    accounts.forget()
    kinds.provider_class.cache_clear()


def deliver() -> None:
    pipeline.deliver(claims.claim_due("chat", "medium", 10), worker="test")


def states() -> Counter[Any]:
    return Counter(Notification.objects.values_list("status", "attempt_count"))


HELD = {
    "everything": ("everything", ""),
    "channel": ("channel", "chat"),
    "queue": ("queue", "chat.medium"),
    "template": ("template", "news"),
    "schedule": ("schedule", "nightly"),
    "account": ("account", "flock"),
}


@pytest.mark.parametrize("scope", HELD.values(), ids=HELD)
def test_what_is_held_is_given_back_untried_and_sent_after_the_release(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, scope: Any
) -> None:
    monkeypatch.setattr(Slow, "meanwhile", lambda: holds.hold(*scope))
    deliver()
    assert len(Slow.sent) == 1
    assert states() == {("sent", 1): 1, ("scheduled", 0): 4}
    holds.tick()
    deliver()
    assert len(Slow.sent) == 1
    holds.release(*scope)
    deliver()
    assert sorted(Slow.sent) == [f"#{n}" for n in range(5)]


@pytest.mark.parametrize(
    ("turn", "state"), [(batches.cancel, "cancelled"), (batches.pause, "scheduled")]
)
def test_what_is_cancelled_or_paused_is_not_sent(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, turn: Any, state: str
) -> None:
    monkeypatch.setattr(Slow, "meanwhile", lambda: turn(batch))
    deliver()
    batches.tick()
    assert len(Slow.sent) == 1
    assert states() == {("sent", 1): 1, (state, 0): 4}
    deliver()
    assert len(Slow.sent) == 1


def test_without_a_change_all_are_sent(batch: Batch) -> None:
    deliver()
    assert states() == {("sent", 1): 5}
