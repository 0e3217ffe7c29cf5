"""What a notification costs by the bulk path in a large table, beside a small one.

Each table has a Postgres, a worker and a scheduler of its own, and a round measures both. More
rows: GROWTH_ROWS=10000000 make bench ONLY=growth (some 8 GB of disk, seven minutes).
"""

import os
import sys
from collections.abc import Callable
from datetime import timedelta

from bench.benchmark import Benchmark, Sample
from bench.bulk import WORKER_CHILDREN, publish_template, send
from bench.stage import Stage
from tests.servers.postgres import PostgresServer

FINISHED = int(os.environ.get("GROWTH_ROWS") or 1_000_000)
FEW = 10_000
ROWS = 20_000
SPAN = timedelta(days=20)  # younger than retention lets go
MODULE = ("python", "-m", "bench.growth")

ATTEMPTS = """
    INSERT INTO notifications_attempt (notification_id, number, provider, result, choice, code,
        detail, provider_message_id, worker, started_at, finished_at)
    SELECT id, 1, 'simulator', 'sent', '', '', '', '', 'worker@host', sent_at, finished_at
    FROM notifications_notification
"""


def prepare(stage: Stage) -> Callable[[], Sample]:
    small = {"DATABASE_URL": stage.postgres.url, "BROKER_URL": stage.redis.url}
    large = {
        "DATABASE_URL": PostgresServer().start().url,
        "BROKER_URL": f"{stage.redis.url.removesuffix('/0')}/1",
    }
    _set_up(stage, small, FEW)
    _set_up(stage, large, FINISHED)
    return lambda: Sample(ours=_microseconds(stage, large), floor=_microseconds(stage, small))


def _set_up(stage: Stage, env: dict[str, str], finished: int) -> None:
    stage.processes.run("migrate", "python", "manage.py", "migrate", **env)
    filling = stage.processes.start("fill", *MODULE, "fill", str(finished), **env)
    filling.wait_for_output("filled", timeout=60 + finished / 2000)
    stage.processes.worker("--concurrency", WORKER_CHILDREN, **env)
    stage.processes.beat(**env)


def _microseconds(stage: Stage, env: dict[str, str]) -> float:
    printed = stage.processes.run("send", *MODULE, "send", **env)
    return float(printed.split()[-1]) / ROWS * 1_000_000


def fill(count: int, since: timedelta = SPAN) -> None:
    """Leave behind what so many notifications would have, over ``SPAN`` from then on."""
    from django.db import connection
    from django.utils import timezone

    from notifications.models import Notification
    from templates_engine.models import TemplateVersion
    from tests.multiply import multiply

    began = timezone.now() - since
    first = Notification.objects.create(
        channel="simulator",
        priority="low",
        recipient="user",
        template_version=TemplateVersion.objects.latest("id"),
        context={"name": "User", "code": 1},
        status="sent",
        attempt_count=1,
        provider="simulator",
        created_at=began,
        scheduled_at=began,
        sent_at=began,
        finished_at=began,
    )
    multiply(first, count - 1, SPAN / count)
    with connection.cursor() as cursor:
        cursor.execute(ATTEMPTS)
        cursor.execute("VACUUM ANALYZE")


def main() -> None:
    import django

    django.setup()
    match sys.argv[1:]:
        case ["fill", count]:
            publish_template()
            fill(int(count))
            print("filled")
        case ["send"]:
            print(send(ROWS))


GROWTH = Benchmark(
    title=f"cost of one with {FINISHED:,} finished rows in the table",
    floor_title=f"the same with {FEW:,}",
    unit=" µs",
    prepare=prepare,
    target="<= 1.2 x",
)

if __name__ == "__main__":
    main()
