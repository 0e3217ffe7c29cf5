"""A bulk replay of failed deliveries at the highest rate, from its order until all are sent again.

Beside ``send_many`` of as many on the same worker, scheduler and Postgres: a replay also reads what
failed, and notes at each what it was replayed as.
"""

import time
from collections.abc import Callable
from datetime import timedelta

from bench import bulk
from bench.benchmark import Benchmark, Sample
from bench.stage import Stage, empty
from tests.servers.process import wait_until

ROWS = 50_000

LETTERS = """
    INSERT INTO notifications_faileddelivery (notification_id, channel, priority, reason,
        error_class, code, detail, provider, fingerprint, history, state, message_id, resolution,
        created_at)
    SELECT id, channel, priority, 'rejected', 'PermanentError', '550', 'no such user',
        'simulator', 'bench', '[{"number": 1, "result": "permanent", "code": "550"}]', 'open', '',
        '', finished_at
    FROM notifications_notification
"""


def prepare(stage: Stage) -> Callable[[], Sample]:
    bulk.prepare_ours(stage)
    return lambda: Sample(ours=ROWS / _seconds(stage), floor=ROWS / bulk.seconds_for(ROWS, stage))


def fail(count: int) -> None:
    """Leave behind so many failed deliveries of one cause."""
    from django.db import connection
    from django.utils import timezone

    from notifications.models import Notification
    from templates_engine.models import TemplateVersion
    from tests.multiply import multiply

    at = timezone.now() - timedelta(hours=1)
    first = Notification.objects.create(
        channel="simulator",
        priority="low",
        recipient="user",
        template_version=TemplateVersion.objects.latest("id"),
        context={"name": "User", "code": 1},
        status="failed",
        attempt_count=1,
        provider="simulator",
        created_at=at,
        scheduled_at=at,
        finished_at=at,
    )
    multiply(first, count - 1, timedelta(0))
    with connection.cursor() as cursor:
        cursor.execute(LETTERS)
        cursor.execute("VACUUM ANALYZE")


def _seconds(stage: Stage) -> float:
    """Return the seconds from the order until the last of them is sent again."""
    from notifications.models import Notification
    from notifications.operations import bulk_replays

    fail(ROWS)
    started = time.perf_counter()
    order = bulk_replays.order("", bulk_replays.FASTEST)
    unfinished = Notification.objects.filter(due_at__isnull=False)

    def is_done() -> bool:
        order.refresh_from_db()
        return order.finished_at is not None and not unfinished.exists()

    wait_until(is_done, timeout=300)
    seconds = time.perf_counter() - started
    sent = Notification.objects.filter(replay_of__isnull=False, status="sent").count()
    if sent != ROWS:
        raise RuntimeError(f"Of {ROWS}, {sent} were sent again; refused: {order.refused}")
    empty(stage)
    return seconds


BULK_REPLAY = Benchmark(
    title=f"bulk replay of {ROWS:,} failed deliveries, ordered to sent again",
    floor_title="send_many of as many",
    unit="/s",
    prepare=prepare,
    target=">= 5,000/s",
)
