"""Which provider of leases a process uses; the contract's tests have what each of them promises."""

from typing import Any

import pytest

from scheduling import leases
from scheduling.backends.database import DatabaseBackend
from scheduling.backends.memory import MemoryBackend
from scheduling.backends.redis import RedisBackend
from scheduling.configuration import BadSetting


@pytest.mark.parametrize(
    ("name", "kind"),
    [("database", DatabaseBackend), ("memory", MemoryBackend), ("redis", RedisBackend)],
)
def test_the_setting_names_the_provider(settings: Any, name: str, kind: type) -> None:
    settings.SCHEDULING_LEASES = name
    assert isinstance(leases.configured(), kind)


def test_an_unknown_provider_is_refused_by_name(settings: Any) -> None:
    settings.SCHEDULING_LEASES = "etcd"
    with pytest.raises(BadSetting, match="etcd"):
        leases.configured()
