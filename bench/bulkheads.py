"""The throughput of one channel while the provider of another hangs, beside the same without."""

import time
from collections.abc import Callable

from bench.benchmark import Benchmark, Sample
from bench.stage import Stage, empty
from tests.servers.process import wait_until

MAILS = 4000
HANGING = 400


def prepare(stage: Stage) -> Callable[[], Sample]:
    # The hanging provider has a minute, so that it hangs for as long as a round takes.
    stage.processes.env |= {
        "NOTIFICATIONS_PROVIDER_TIMEOUT": "40",
        "NOTIFICATIONS_LEASE": "90",
        "NOTIFICATIONS_BATCH_TIME_LIMIT": "2",
        "OUTBOX": "1",
    }
    stage.processes.worker("--concurrency", "4")
    stage.processes.beat()

    def play() -> Sample:
        without = MAILS / _mails()
        _hang()
        beside = MAILS / _mails()
        empty(stage)
        return Sample(ours=beside, floor=without)

    return play


def _mails() -> float:
    from notifications.models import UNFINISHED, Notification
    from notifications.submission import send_many

    rows = ({"recipient": f"u{n}@example.org"} for n in range(MAILS))
    started = time.perf_counter()
    send_many(rows, channel="email", subject="S", body="B")
    unfinished = Notification.objects.filter(channel="email", status__in=UNFINISHED)
    wait_until(lambda: not unfinished.exists(), timeout=300)
    return time.perf_counter() - started


def _hang() -> None:
    from notifications.submission import send_many

    rows = ({"recipient": f"u{n}?result=hang"} for n in range(HANGING))
    send_many(rows, channel="simulator", body="B")
    time.sleep(5)  # until the worker has run into it


BULKHEADS = Benchmark(
    title="mail throughput while another channel's provider hangs",
    floor_title="the same without the hang",
    unit="/s",
    prepare=prepare,
    target=">= 0.95 x",
)
