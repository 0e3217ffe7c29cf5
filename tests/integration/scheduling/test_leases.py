"""All providers of leases keep the same promises."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from scheduling import leases

pytestmark = pytest.mark.django_db

LONG = timedelta(minutes=1)
SHORT = timedelta(milliseconds=50)


@pytest.fixture(params=["memory", "database", "redis"])
def provider(request: pytest.FixtureRequest, settings: Any, app: object) -> leases.Leases:
    settings.SCHEDULING_LEASES = request.param
    return leases.configured()


def test_a_lease_is_had_by_one(provider: leases.Leases) -> None:
    assert provider.take("sweep", "a", LONG)
    assert not provider.take("sweep", "b", LONG)
    assert provider.take("another", "b", LONG)


def test_its_owner_renews_it(provider: leases.Leases, wait_until: Callable[..., Any]) -> None:
    assert provider.take("sweep", "a", SHORT)
    assert provider.take("sweep", "a", LONG)
    assert not provider.take("sweep", "b", LONG)


def test_it_is_free_when_its_time_is_over(
    provider: leases.Leases, wait_until: Callable[..., Any]
) -> None:
    assert provider.take("sweep", "a", SHORT)
    wait_until(lambda: provider.take("sweep", "b", LONG))
    assert not provider.take("sweep", "a", LONG)


def test_only_its_owner_can_give_it_back(provider: leases.Leases) -> None:
    assert provider.take("sweep", "a", LONG)
    provider.release("sweep", "b")
    assert not provider.take("sweep", "b", LONG)
    provider.release("sweep", "a")
    assert provider.take("sweep", "b", LONG)


def test_an_unknown_provider_is_refused_by_name(settings: Any) -> None:
    settings.SCHEDULING_LEASES = "etcd"
    with pytest.raises(ImproperlyConfigured, match="etcd"):
        leases.configured()
