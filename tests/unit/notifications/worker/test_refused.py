"""What cannot keep the promises is refused at the start, with a way out."""

from types import SimpleNamespace

import pytest
from celery.concurrency.base import BasePool
from celery.concurrency.prefork import TaskPool

from notifications.db import checks
from notifications.worker import shutdown


class ReplicaForReading:
    """A router as Django's documentation shows it."""

    def db_for_read(self, model: object, **_: object) -> str:
        return "replica"


class ElsewhereForOthers:
    """A router that leaves our apps alone."""

    def db_for_write(self, model: object, **_: object) -> str | None:
        return "other" if model._meta.app_label == "auth" else None  # type: ignore[attr-defined]


def test_a_router_that_reads_elsewhere_is_refused(settings: object) -> None:
    settings.DATABASE_ROUTERS = [ReplicaForReading()]  # type: ignore[attr-defined]
    (error,) = checks.one_database()
    assert error.id == "notifications.E001"
    assert "DATABASE_ROUTERS" in str(error.hint)


def test_a_router_that_leaves_us_alone_is_none_of_our_business(settings: object) -> None:
    settings.DATABASE_ROUTERS = [ElsewhereForOthers()]  # type: ignore[attr-defined]
    assert checks.one_database() == []


def test_a_green_pool_is_refused_for_it_cannot_be_stopped_in_time() -> None:
    class GreenPool(BasePool):  # type: ignore[misc]  # celery has no types
        is_green = True

    with pytest.raises(SystemExit, match=r"config\.E013"):
        shutdown.refuse_green_pools(SimpleNamespace(pool_cls=GreenPool))
    shutdown.refuse_green_pools(SimpleNamespace(pool_cls=TaskPool))
