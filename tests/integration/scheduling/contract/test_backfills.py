"""A past range of due times that is run on demand."""

import json
from datetime import timedelta
from itertools import pairwise

import pytest
import redis
from celery import Celery
from django.conf import settings

from scheduling import jobs
from scheduling.kept.protocol import Backend
from tests.integration.scheduling.backends import Stage
from tests.integration.scheduling.contract.acts import (
    MINUTE,
    TASK,
    due,
    tick,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_backfill_runs_what_has_no_fire_at_a_pace_and_once(stage: Stage, app: Celery) -> None:
    due(stage, every=3600)
    tick(stage.backend, app)
    (fired,) = jobs.fires("job")
    since = fired.scheduled_for - timedelta(hours=3)
    until = fired.scheduled_for + timedelta(microseconds=1)
    preview = jobs.backfill("job", since, until, pace=MINUTE, dry_run=True)
    assert [due_at for due_at, _ in preview] == [since + timedelta(hours=n) for n in range(3)]
    assert [b[1] - a[1] for a, b in pairwise(preview)] == [MINUTE, MINUTE]
    assert len(jobs.fires("job")) == 1
    runs = jobs.backfill("job", since, until, pace=MINUTE)
    assert [due_at for due_at, _ in runs] == [due_at for due_at, _ in preview]
    assert jobs.backfill("job", since, until) == []
    tick(stage.backend, app)
    statuses = [fire.status for fire in jobs.fires("job")]
    assert statuses == ["dispatched", "claimed", "claimed", "dispatched"]
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        messages = [json.loads(raw) for raw in broker.lrange("jobs", 0, -1)]
    headers = [message["headers"]["scheduled_for"] for message in reversed(messages)]
    assert headers == [fired.scheduled_for.isoformat(), since.isoformat()]
    assert jobs.get("job").answered_until == fired.scheduled_for


def test_a_backfill_waits_for_the_run_before_where_none_may_overlap(
    stage: Stage, app: Celery
) -> None:
    jobs.register("job", TASK, 3600, overlap="skip")
    now = stage.backend.now()
    assert len(jobs.backfill("job", now - timedelta(hours=3), now)) == 3
    for left in (2, 1, 0):
        stage.end_waits()
        tick(stage.backend, app)
        statuses = [str(fire.status) for fire in jobs.fires("job")]
        assert (statuses.count("dispatched"), statuses.count("waiting")) == (1, left)
        (running,) = [fire for fire in jobs.fires("job") if fire.status == "dispatched"]
        attempt = stage.backend.begin(running.id, "w1")
        assert attempt
        stage.backend.succeed(running.id, attempt)


@pytest.mark.parametrize(
    ("since", "until", "pace", "field"),
    [
        (-2, -3, 0, "until"),
        (-2, 2, 0, "until"),
        (-2000, 0, 0, "since"),
        (-2, 0, -1, "pace"),
    ],
)
def test_a_backfill_of_what_is_no_past_range_is_refused_by_field(
    backend: Backend, since: int, until: int, pace: int, field: str
) -> None:
    jobs.register("job", TASK, 3600)
    now = backend.now()
    begin, end = now + timedelta(hours=since), now + timedelta(hours=until)
    with pytest.raises(jobs.InvalidJob) as refused:
        jobs.backfill("job", begin, end, pace=timedelta(seconds=pace))
    assert refused.value.field == field
