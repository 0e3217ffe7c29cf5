"""What it costs to know the recipient: an acceptance, and what waits for a delivery window.

``HELD_ROWS=1000000 make bench ONLY=windows_idle`` for a larger table.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

from bench import bulk
from bench.benchmark import Benchmark, Sample
from bench.stage import Stage, backend, empty
from tests.servers.process import wait_until

SENDS = 1000
CHUNK = 100  # sends of one kind before those of the other: what disturbs hits both
SWEEPS = 200
HELD = int(os.environ.get("HELD_ROWS") or 200_000)
ROWS = 20_000
MESSAGE: dict[str, Any] = {"channel": "simulator", "subject": "S", "body": "B"}
PLAIN: dict[str, Any] = {**MESSAGE, "recipient": "ada"}
KNOWN: dict[str, Any] = {**MESSAGE, "to": {"recipient": "customer-17"}, "category": "billing"}
STORED: dict[str, Any] = {**MESSAGE, "to": {"recipient": "customer-18"}}


def prepare_acceptance(stage: Stage) -> Callable[[], Sample]:
    return _against(stage, PLAIN)


def prepare_rules(stage: Stage) -> Callable[[], Sample]:
    return _against(stage, STORED)


def _against(stage: Stage, floor: dict[str, Any]) -> Callable[[], Sample]:
    """Compare a send with preferences, category and window to one without, in alternation."""
    from notifications.submission import choose_preferences, save_recipient

    addresses = {"simulator": "ada", "email": "ada@example.org", "push": ["phone", "tablet"]}
    save_recipient("customer-17", addresses=addresses, timezone="Europe/Vienna", country="AT")
    save_recipient("customer-18", addresses=addresses)
    choose_preferences("customer-17", {"billing": {"email": False}, "marketing": {"push": True}})
    _window(opens=True)

    def play() -> Sample:
        spent = {id(fields): 0.0 for fields in (floor, KNOWN)}
        for _ in range(SENDS // CHUNK):
            for fields in (floor, KNOWN):
                spent[id(fields)] += _seconds_of(stage, CHUNK, fields)
                empty(stage)
        known, without = (spent[id(fields)] / SENDS * 1_000_000 for fields in (KNOWN, floor))
        return Sample(ours=known, floor=without)

    return play


def prepare_idle(stage: Stage) -> Callable[[], Sample]:
    from django.db import connection

    from notifications.submission import send
    from tests.multiply import multiply

    _window(opens=False)

    def play() -> Sample:
        empty(stage)
        none = _microseconds_of_a_sweep(stage)
        multiply(send(**{**PLAIN, "category": "billing"}), HELD - 1)
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE notifications_notification")
        return Sample(ours=_microseconds_of_a_sweep(stage), floor=none)

    return play


def prepare_opening(stage: Stage) -> Callable[[], Sample]:
    from notifications.submission import save_recipients

    bulk.prepare_ours(stage)
    keys = [f"customer-{number}" for number in range(ROWS)]
    for at in range(0, ROWS, 1000):
        save_recipients({"id": k, "addresses": {"simulator": k}} for k in keys[at : at + 1000])
    return lambda: Sample(
        ours=ROWS / _seconds_of_an_opening(stage, keys), floor=ROWS / bulk.seconds_for(ROWS, stage)
    )


def _seconds_of_an_opening(stage: Stage, keys: list[str]) -> float:
    """Return the seconds from the opening of a window until all that waited for it is sent."""
    from notifications.db import clock
    from notifications.models import Notification
    from notifications.recipients import project_rows
    from notifications.submission import send_many

    _window(opens=False)
    shared = {"template": "bench", "context": {"name": "Ada", "code": 1}, "category": "billing"}
    rows = ({"to": {"recipient": key}} for key in keys)
    send_many(rows, channel="simulator", priority="low", **shared)  # type: ignore[arg-type]
    waiting = Notification.objects.filter(status="scheduled", reason="window_closed")
    if (count := waiting.count()) != len(keys):
        raise RuntimeError(f"Of {len(keys)}, {count} wait for the window.")
    _window(opens=True)
    time.sleep(project_rows.KEPT_FOR + 0.1)  # until each process has seen it
    waiting.update(due_at=clock.now())
    started = time.perf_counter()
    unfinished = Notification.objects.filter(
        channel="simulator", priority="low", due_at__isnull=False
    )
    wait_until(lambda: not unfinished.exists(), timeout=300)
    seconds = time.perf_counter() - started
    if (sent := Notification.objects.filter(status="sent").count()) != len(keys):
        raise RuntimeError(f"Of {len(keys)}, {sent} were sent.")
    empty(stage)
    return seconds


def _window(*, opens: bool) -> None:
    """Save a window that is open all day, or one that opens in six hours."""
    from notifications.models import DeliveryWindow
    from notifications.recipients import windows

    begins = datetime.now(UTC) + timedelta(hours=6)
    ends = begins + timedelta(hours=2)
    hours = (time_of_day(0), time_of_day(0)) if opens else (begins.time(), ends.time())
    row = DeliveryWindow(category="billing", begins=hours[0], ends=hours[1], timezone="UTC")
    windows.save(row)


def _seconds_of(stage: Stage, count: int, fields: dict[str, Any]) -> float:
    """Return the processor seconds of so many sends: ours, Postgres' and Redis'."""
    from notifications.submission import send

    send(**fields)  # what each process keeps for a second
    before = _spent(stage)
    for _ in range(count):
        send(**fields)
    return _spent(stage) - before


def _microseconds_of_a_sweep(stage: Stage) -> float:
    from notifications.maintenance.sweep import sweep

    sweep()
    before = _spent(stage)
    for _ in range(SWEEPS):
        sweep()
    return (_spent(stage) - before) / SWEEPS * 1_000_000


def _spent(stage: Stage) -> float:
    """Return the processor seconds so far of this process, its session's at Postgres, and Redis.

    Not of what Postgres does meanwhile for the rows that were made before, such as a checkpoint.
    """
    return time.process_time() + _seconds_of_main_thread(backend().pid, stage.redis.pid)


def _seconds_of_main_thread(*pids: int) -> float:
    """Return what processes of one thread have used, which the kernel counts in nanoseconds.

    Their usual times are counted in hundredths of a second: as much as twenty sends take.
    """
    used = [Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in pids]
    return sum(map(int, used)) / 1e9


RECIPIENTS = Benchmark(
    title="processor time of one send to a stored recipient, with category and window",
    floor_title="to an address, without",
    unit=" µs",
    prepare=prepare_acceptance,
    target="<= 1.3 x",
)

RECIPIENT_RULES = Benchmark(
    title="processor time of one send to a stored recipient, with preferences, category and window",
    floor_title="to a stored recipient, without",
    unit=" µs",
    prepare=prepare_rules,
    target="<= 1.3 x",
)

WINDOWS_IDLE = Benchmark(
    title=f"processor time of an idle sweep while {HELD:,} rows wait for a window",
    floor_title="without them",
    unit=" µs",
    prepare=prepare_idle,
    target="<= 1.1 x",
)

WINDOWS_OPENING = Benchmark(
    title=f"{ROWS:,} rows that waited for a window, from its opening until all are sent",
    floor_title="the bulk path, from acceptance",
    unit="/s",
    prepare=prepare_opening,
    target=">= 1 x",
)
