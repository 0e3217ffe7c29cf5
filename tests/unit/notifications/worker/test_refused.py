"""What cannot keep the promises is refused at the start, with a way out."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery.concurrency.base import BasePool
from celery.concurrency.prefork import TaskPool

from notifications.db import checks
from notifications.worker import shutdown
from tests.structure import ROOT


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


class GreenPool(BasePool):  # type: ignore[misc]  # celery has no types
    """A pool as gevent's and eventlet's are, without their packages."""

    is_green = True


def test_a_green_pool_is_refused_for_it_cannot_be_stopped_in_time() -> None:
    with pytest.raises(SystemExit, match=r"config\.E013"):
        shutdown.refuse_green_pools(SimpleNamespace(pool_cls=GreenPool))
    shutdown.refuse_green_pools(SimpleNamespace(pool_cls=TaskPool))


@pytest.mark.slow
def test_a_worker_with_a_green_pool_ends_at_once_though_no_server_is_there(tmp_path: Path) -> None:
    away = {"DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3", "VAR_DIR": str(tmp_path)}
    away |= {"BROKER_URL": "redis://127.0.0.1:1/0"}
    away |= {"CELERY_CUSTOM_WORKER_POOL": f"{__name__}:GreenPool"}
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "config", "worker", "-P", "custom"],
        env=os.environ | away,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "config.E013" in ended.stderr
