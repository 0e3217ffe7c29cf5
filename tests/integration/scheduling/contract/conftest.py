"""Each test runs on each backend."""

from collections.abc import Iterator

import pytest
from celery import Celery
from django.conf import settings

from scheduling import chosen_backend, jobs
from scheduling.backends.database import DatabaseBackend
from scheduling.kept.protocol import Backend
from tests.integration.scheduling.backends import DatabaseStage, Stage, in_memory, in_redis
from tests.integration.scheduling.contract.acts import TASK


def _stage(kind: str) -> Stage:
    if kind == "memory":
        return in_memory()
    if kind == "redis":
        return in_redis(settings.BROKER_URL)
    return DatabaseStage(DatabaseBackend(), DatabaseBackend)


@pytest.fixture(params=["database", "redis", "memory"])
def stage(
    request: pytest.FixtureRequest, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    monkeypatch.setattr(jobs, "_allowed", {TASK})
    monkeypatch.setattr(jobs, "_declared", {})
    made = _stage(request.param)
    with chosen_backend.using(made.backend):
        yield made


@pytest.fixture
def backend(stage: Stage) -> Backend:
    return stage.backend
