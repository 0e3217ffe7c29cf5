"""Dead letters: grouped by cause, replayed once, at a rate, or discarded."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from notifications.core.errors import ReplayRefused
from notifications.delivery import failed_deliveries
from notifications.models import FailedDelivery, Notification, Status
from notifications.models.failed_delivery import fingerprint
from notifications.operations import bulk_replays, replays


@pytest.fixture
def dead(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> Callable[..., FailedDelivery]:
    """A notification that was refused for good; keywords change it."""

    def dead(**changes: Any) -> FailedDelivery:
        row = accepted(**{"recipient": "ada?result=permanent&code=550", **changes})
        deliver(row)
        return FailedDelivery.objects.get(notification_id=row.id)

    return dead


def test_failures_of_one_cause_share_a_fingerprint(dead: Callable[..., FailedDelivery]) -> None:
    assert dead().fingerprint == dead(reference="other").fingerprint
    assert dead().fingerprint != dead(recipient="ada?result=permanent&code=553").fingerprint


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("550 no such user ada@example.org", "550 no such user bob@example.net", True),
        ("blocked, see ticket 8812", "blocked, see ticket 9001", True),
        ("mailbox full", "no such user", False),
    ],
)
def test_a_fingerprint_looks_past_addresses_and_numbers(
    first: str, second: str, same: bool
) -> None:
    prints = [fingerprint("email", "smtp", "rejected", "550", d) for d in (first, second)]
    assert (prints[0] == prints[1]) is same


def test_a_replay_is_a_new_notification_linked_to_the_old(
    dead: Callable[..., FailedDelivery],
) -> None:
    letter = dead(reference="order 7", metadata={"a": 1})
    again = replays.replay(letter)
    letter.refresh_from_db()
    assert again.replay_of_id == letter.notification_id
    assert (again.reference, again.metadata) == ("order 7", {"a": 1})
    assert (letter.state, letter.replayed_as_id) == ("replayed", again.id)
    assert letter.notification_id is not None
    assert Notification.objects.get(id=letter.notification_id).status == Status.FAILED


def test_a_dead_letter_is_replayed_once(dead: Callable[..., FailedDelivery]) -> None:
    letter = dead()
    replays.replay(letter)
    with pytest.raises(ReplayRefused):
        replays.replay(letter)
    assert Notification.objects.count() == 2


def test_what_is_past_its_expiry_is_refused_and_stays_open(
    dead: Callable[..., FailedDelivery],
) -> None:
    letter = dead(expires=3600)
    Notification.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    letter = FailedDelivery.objects.get(pk=letter.pk)
    with pytest.raises(ReplayRefused, match="expiry is in the past"):
        replays.replay(letter)
    letter.refresh_from_db()
    assert letter.state == "open"


def test_many_are_replayed_at_a_chosen_rate(dead: Callable[..., FailedDelivery]) -> None:
    for _ in range(4):
        dead()
    order = bulk_replays.order("", 2)
    bulk_replays.tick()
    order.refresh_from_db()
    assert (order.accepted, order.refused) == (4, {})
    replayed = Notification.objects.filter(replay_of__isnull=False)
    due = sorted(replayed.values_list("scheduled_at", flat=True))
    assert 1.4 < (due[-1] - due[0]).total_seconds() < 2.5


def test_a_letter_that_cannot_even_be_read_costs_itself_only(
    dead: Callable[..., FailedDelivery],
) -> None:
    unreadable, good = dead(), dead()
    FailedDelivery.objects.filter(pk=unreadable.pk).update(notification=None, request=[1])
    order = bulk_replays.order("", 100)
    bulk_replays.tick()
    order.refresh_from_db()
    assert (order.accepted, sum(order.refused.values())) == (1, 1)
    assert FailedDelivery.objects.get(pk=good.pk).state == "replayed"
    assert FailedDelivery.objects.get(pk=unreadable.pk).state == "open"


def test_a_discarded_letter_keeps_the_reason_and_is_not_replayed(
    dead: Callable[..., FailedDelivery],
) -> None:
    letter = dead()
    assert failed_deliveries.discard(FailedDelivery.objects.all(), why="typo in the list") == 1
    letter.refresh_from_db()
    assert (letter.state, letter.resolution) == ("discarded", "typo in the list")
    with pytest.raises(ReplayRefused):
        replays.replay(letter)
