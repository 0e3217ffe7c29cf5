"""What is looked at often costs what it shows, however many rows there are."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notifications.api.notifications import Filters, _filtered
from notifications.api.pagination import cut_by_age
from notifications.core.world import LIVE
from notifications.db import clock
from notifications.models import Notification, Status
from notifications.queueing import backlog
from tests.multiply import multiply

ROWS = 50_000
FEW = 500  # a short time may be read whole, and sorted


@pytest.fixture
def a_month_of_finished_rows(transactional_db: None) -> datetime:
    began = clock.now() - timedelta(days=30)
    first = Notification.objects.create(
        channel="simulator",
        priority="low",
        recipient="ada",
        status=Status.SENT,
        created_at=began,
        scheduled_at=began,
        finished_at=began,
    )
    multiply(first, ROWS, timedelta(days=30) / ROWS)
    _analyse()
    return began


def _analyse() -> None:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE notifications_notification")


def page_of(**filters: Any) -> tuple[list[Notification], str | None]:
    """Return a page of the API's list, and the cursor to the next."""
    read = Filters.model_validate({"limit": 50, **filters})
    return cut_by_age(_filtered(LIVE, read), read)


def rows_touched(run: Any) -> int:
    """Run it, and count the rows of notifications that its queries read, filtered out or not."""
    with CaptureQueriesContext(connection) as captured:
        run()
    touched = 0
    with connection.cursor() as cursor:
        for query in captured.captured_queries:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query['sql']}")
            plan = cursor.fetchone()[0]
            touched += _touched((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    return touched


def _touched(node: dict[str, Any]) -> int:
    own = 0
    if node.get("Relation Name") == Notification._meta.db_table or "Index Name" in node:
        seen = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        own = round(seen * node["Actual Loops"])
    return own + sum(map(_touched, node.get("Plans", [])))


@pytest.mark.parametrize("days", [(20, 19.9), (29, 10), (29, None), (None, 25), (None, 40)])
def test_a_page_of_any_time_reads_little_more_than_it_shows(
    a_month_of_finished_rows: datetime, days: Any
) -> None:
    now = clock.now()
    after, before = (ago and (now - timedelta(days=ago)).isoformat() for ago in days)
    times = {"created_after": after, "created_before": before}
    _, cursor = page_of(**times)
    assert rows_touched(lambda: page_of(**times)) <= FEW
    assert rows_touched(lambda: page_of(**times, cursor=cursor or "")) <= FEW


def test_a_look_at_the_backlog_reads_no_more_than_its_limit(
    a_month_of_finished_rows: datetime,
) -> None:
    now = clock.now()
    due = Notification.objects.create(
        channel="email",
        priority="low",
        recipient="ada",
        status=Status.QUEUED,
        scheduled_at=now,
        due_at=now,
    )
    multiply(due, ROWS)
    _analyse()
    assert backlog.look(1000)[2].due == 1000
    assert rows_touched(lambda: backlog.look(1000)) <= 1000 + 100


def test_a_hot_table_is_vacuumed_long_before_a_fifth_of_it_is_dead(transactional_db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reloptions FROM pg_class WHERE relname = 'notifications_notification'"
        )
        (options,) = cursor.fetchone()
    assert "autovacuum_vacuum_scale_factor=0.1" in options


def test_pages_by_age_show_each_row_once_although_many_came_at_once(transactional_db: None) -> None:
    now = clock.now()
    first = Notification.objects.create(
        channel="email", priority="low", recipient="ada", status=Status.SENT, scheduled_at=now
    )
    multiply(first, 120)
    seen = []
    cursor: str | None = ""
    while cursor is not None:
        page, cursor = page_of(cursor=cursor)
        seen += [row.id for row in page]
    assert len(seen) == len(set(seen)) == 121
