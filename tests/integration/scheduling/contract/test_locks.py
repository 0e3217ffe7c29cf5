"""Locks that one process holds at a time."""

from datetime import timedelta

import pytest

from scheduling import leases
from scheduling.kept.documents import Lease
from scheduling.kept.protocol import Backend
from tests.integration.scheduling.backends import SECOND, Stage
from tests.integration.scheduling.contract.acts import MINUTE, at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_lock_is_had_by_one(stage: Stage) -> None:
    taken = at_once(lambda: stage.another().acquire("work", "me", MINUTE))
    assert len([lease for lease in taken if lease is not None]) == 1
    assert stage.backend.acquire("other work", "me", MINUTE) is not None


def test_a_lock_is_renewed_while_held_and_released_by_its_holder_only(backend: Backend) -> None:
    lease = backend.acquire("work", "a", MINUTE)
    assert lease is not None
    assert backend.renew(lease)
    backend.release(lease)
    assert not backend.renew(lease)
    following = backend.acquire("work", "b", MINUTE)
    backend.release(lease)
    assert backend.acquire("work", "a", MINUTE) is None
    assert following is not None
    assert following.token > lease.token


def test_a_lock_that_nobody_renews_ends_by_the_stores_own_clock(stage: Stage) -> None:
    """As when its holder's process was killed: nobody ends it by hand."""
    backend = stage.backend
    lease = backend.acquire("work", "a", SECOND)
    assert lease is not None
    assert stage.another().acquire("work", "b", MINUTE) is None
    taken: list[Lease] = []
    deadline = backend.now() + 20 * SECOND
    while not taken:
        assert backend.now() < deadline
        taken += filter(None, [stage.another().acquire("work", "b", MINUTE)])
    assert taken[0].token > lease.token
    assert not backend.renew(lease)


def test_a_lock_is_taken_over_when_its_holder_has_died(stage: Stage) -> None:
    backend = stage.backend
    first = leases.Holder(backend, "work", "first")
    second = leases.Holder(backend, "work", "second")
    assert first.hold()
    assert first.hold()
    assert not second.hold()
    stage.end_leases()
    assert second.hold()
    assert not first.hold()  # it wakes up, and finds itself fenced off
    second.release()
    assert first.hold()


def test_a_lock_lasts_10_to_30_seconds() -> None:
    assert timedelta(seconds=10) <= leases.TTL <= timedelta(seconds=30)
