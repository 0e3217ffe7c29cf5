"""What each page of the admin costs over a large table: milliseconds, queries, and its weight.

The slowest page is set beside the page of a small table, which costs what any page costs by itself.
More or fewer rows: ADMIN_ROWS=100000 make bench ONLY=admin_pages.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from bench.benchmark import Benchmark, Sample
from bench.bulk import publish_template
from bench.stage import Stage

ROWS = int(os.environ.get("ADMIN_ROWS") or 1_000_000)
FAILED = ROWS // 20
SCHEDULES = ROWS // 100
SPAN = timedelta(days=20)
LOOKS = 3  # at each page, of which the median counts

LETTERS = """
    INSERT INTO notifications_faileddelivery (notification_id, message_id, project, test, channel,
        priority, reason, error_class, code, detail, provider, fingerprint, history, state,
        resolution, created_at)
    SELECT id, '', project, false, channel, priority, 'rejected', 'PermanentError',
        (550 + n % 5)::text, 'No such user', 'simulator', lpad((n % 5)::text, 32, 'f'), '[]',
        'open', '', finished_at
    FROM (SELECT *, row_number() OVER () AS n FROM notifications_notification
          WHERE status = 'failed') AS failed
"""
TASKS = """
    INSERT INTO django_celery_beat_periodictask (name, task, args, kwargs, headers, one_off,
        enabled, total_run_count, date_changed, description, interval_id)
    SELECT 'schedule ' || n, 'notifications.send_notification', '[]',
        '{"channel": "simulator", "recipient": "ada", "body": "Hi"}', '{}', false, true, 0, now(),
        '', %s FROM generate_series(1, %s) AS n
"""


def fill(rows: int = ROWS) -> None:
    """Leave a batch of so many, of which some failed, and as many schedules as go with it."""
    from django.db import connection
    from django_celery_beat.models import IntervalSchedule, PeriodicTasks

    from notifications.db import clock
    from notifications.models import Batch

    publish_template()
    now = clock.now()
    batch = Batch.objects.create(name="campaign", accepted=rows, closed_at=now)
    sent, failed = rows - rows // 20, rows // 20
    _add(sent, batch, now - SPAN, status="sent", sent_at=now - SPAN)
    _add(failed, batch, now - timedelta(hours=3), status="failed", reason="rejected")
    for minutes, name in ((20, "may"), (40, "june"), (60, "july")):
        small = Batch.objects.create(name=name, accepted=1000, closed_at=now)
        _add(1000, small, now - timedelta(minutes=minutes), status="sent", sent_at=now)
    every = IntervalSchedule.objects.create(every=30, period="days")
    with connection.cursor() as cursor:
        cursor.execute(LETTERS)
        cursor.execute(TASKS, [every.pk, rows // 100])
        PeriodicTasks.update_changed()
        cursor.execute("VACUUM ANALYZE")


def _add(count: int, batch: object, began: datetime, **fields: object) -> None:
    from notifications.models import Notification
    from templates_engine.models import TemplateVersion
    from tests.multiply import multiply

    given = {
        "channel": "simulator",
        "priority": "low",
        "recipient": f"user-{began:%H%M%S}-",
        "context": {"name": "User", "code": 1},
        "attempt_count": 1,
        "provider": "simulator",
        "created_at": began,
        "scheduled_at": began,
        "finished_at": began,
        "batch": batch,
        "template_version": TemplateVersion.objects.latest("id"),
    }
    first = Notification.objects.create(**{**given, **fields})
    span = SPAN if count > 100_000 else timedelta(minutes=10)
    multiply(first, count - 1, span / count)


def pages() -> dict[str, str]:
    """Return the address of each page that is looked at, by its name."""
    from notifications.models import Batch, FailedDelivery, Notification

    row = Notification.objects.latest("id")
    dead = FailedDelivery.objects.latest("id")
    batch = Batch.objects.get(name="campaign")
    lists = "/admin/notifications"
    return {
        "dashboard": "/admin/",
        "dashboard, renewed": "/admin/../dashboard/live/",
        "notifications": f"{lists}/notification/",
        "notifications, page 100": f"{lists}/notification/?p=100",
        "notifications, sorted": f"{lists}/notification/?o=4",
        "notifications, failed": f"{lists}/notification/?status=failed",
        "notifications, queued": f"{lists}/notification/?status=queued",
        "notifications, of a recipient": f"{lists}/notification/?q={row.recipient}",
        "notifications, found by nothing": f"{lists}/notification/?q=nobody",
        "a notification": f"{lists}/notification/{row.pk}/change/",
        "batches": f"{lists}/batch/",
        "the batch": f"{lists}/batch/{batch.pk}/change/",
        "failed deliveries": f"{lists}/faileddelivery/",
        "failed deliveries, of a cause": f"{lists}/faileddelivery/?q={dead.fingerprint}",
        "a failed delivery": f"{lists}/faileddelivery/{dead.pk}/change/",
        "causes": f"{lists}/faileddelivery/causes/",
        "replay of a cause": f"{lists}/faileddelivery/causes/{dead.fingerprint}/replay/",
        "archive": f"{lists}/archivednotification/",
        "accounts": f"{lists}/provideraccount/",
        "outbox": "/outbox/",
        "templates": "/admin/templates_engine/template/",
        "schedules": "/admin/django_celery_beat/periodictask/",
        "schedules, searched": "/admin/django_celery_beat/periodictask/?q=schedule+77",
        "fires": "/admin/scheduling/fire/",
        "API: jobs": "/api/v1/jobs?limit=500",
        "API: queued": "/api/v1/notifications?status=queued",
        "API: unknown template": "/api/v1/notifications?template=nobody",
        "API: batch": f"/api/v1/notifications/batch/{batch.pk}",
    }


SMALL = "/admin/auth/user/"


def look(client: object, where: str, **headers: str) -> float:
    """Return the milliseconds of a page."""
    took = []
    for _ in range(LOOKS):
        started = time.perf_counter()
        answer = client.get(where, **headers)  # type: ignore[attr-defined]
        took.append((time.perf_counter() - started) * 1000)
        if answer.status_code != 200:
            raise RuntimeError(f"{where} answered {answer.status_code}.")
    return statistics.median(took)


def queries_of(client: object, where: str, **headers: str) -> int:
    """Return the queries of a page. Not of those that are timed: to log a query takes a while."""
    from django.db import connection, reset_queries
    from django.test.utils import CaptureQueriesContext

    reset_queries()  # nothing else does here, and a full log counts no more
    with CaptureQueriesContext(connection) as asked:
        client.get(where, **headers)  # type: ignore[attr-defined]
    return len(asked)


def walk() -> tuple[str, float, float]:
    """Print each page's figures; return the slowest page, its milliseconds and the floor's."""
    from django.contrib.auth.models import User
    from django.test import Client, override_settings

    from notifications.operations import api_keys
    from tests.page_weight import Scales

    person, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(person)
    key = {"HTTP_AUTHORIZATION": f"Bearer {api_keys.create('bench').token}"}
    scales, found = Scales(client), dict[str, float]()
    with override_settings(ALLOWED_HOSTS=["*"]):
        floor = look(client, SMALL)
        for name, page in pages().items():
            where = page.removeprefix("/admin/..")
            found[name] = look(client, where, **key)
            line = f"  {name}: {found[name]:.0f} ms, {queries_of(client, where, **key)} queries"
            if not name.startswith("API"):
                weight = scales.weigh(where)
                line += f", {weight.sent / 1000:.0f} kB ({weight.plain / 1000:.0f} uncompressed)"
            print(line, file=sys.stderr)
    slowest = max(found, key=lambda name: found[name])
    return slowest, found[slowest], floor


def prepare(stage: Stage) -> Callable[[], Sample]:
    fill()

    def play() -> Sample:
        slowest, ours, floor = walk()
        print(f"  the slowest: {slowest}", file=sys.stderr)
        return Sample(ours, floor)

    return play


ADMIN_PAGES = Benchmark(
    title=f"the slowest page of the admin over {ROWS:,} notifications",
    floor_title="the page of a small table",
    unit=" ms",
    prepare=prepare,
    target="<= 300 ms",
)
