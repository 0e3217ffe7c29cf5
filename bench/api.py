"""POST /api/v1/notifications, durable on 201, beside an empty view of the same server.

64 clients keep their connections. The empty view is ``/healthz/live``: the same web process with
the same middleware, which answers one word. Ours also asks who calls and how often, checks the
request, keeps it idempotent, stores it and publishes a message to a worker (none runs here).
"""

import http.client
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from bench import http_load
from bench.benchmark import Benchmark, Sample
from bench.http_load import Load
from bench.stage import Stage, empty
from tests.servers.process import free_port
from tests.servers.processes import wait_for_http

CALLS = 3000
CLIENTS = 64
THREADS = "16"  # of the web process, as docs/production.md has them
LATEST = 60.0  # milliseconds
ROWS = 100_000
LEAST_ROWS = 15_000.0  # per second
MESSAGE: Any = {"channel": "simulator", "recipient": "bench", "subject": "S", "body": "B"}


def prepare_pace(stage: Stage) -> Callable[[], Sample]:
    address, token = serve(stage)
    return lambda: Sample(
        ours=CALLS / posts(address, token).seconds, floor=CALLS / empty_calls(address).seconds
    )


def prepare_latency(stage: Stage) -> Callable[[], Sample]:
    address, token = serve(stage)
    return lambda: Sample(ours=posts(address, token).p99 * 1000, floor=LATEST)


def prepare_batch(stage: Stage) -> Callable[[], Sample]:
    address, token = serve(stage, NOTIFICATIONS_API_BATCH_ROWS=str(ROWS))
    rows = [{"recipient": f"user{n}"} for n in range(ROWS)]
    common = {name: value for name, value in MESSAGE.items() if name != "recipient"}
    body = json.dumps({"common": {**common, "priority": "low"}, "notifications": rows})

    def play() -> Sample:
        seconds = _seconds_of_batch(address, token, body)
        empty(stage)
        return Sample(ours=ROWS / seconds, floor=LEAST_ROWS)

    return play


def serve(stage: Stage, **env: str) -> tuple[str, str]:
    """Start the web process as it is deployed; return its address, and a key."""
    from notifications.operations import api_keys

    token = api_keys.create("bench", rate=1_000_000).token
    port = free_port()
    process = stage.processes.start(
        "web",
        *("granian", "--interface", "wsgi", "config.wsgi:application"),
        *("--host", "127.0.0.1", "--port", str(port), "--blocking-threads", THREADS),
        LOG_LEVEL="WARNING",
        HTTPS="0",
        **env,
    )
    address = f"http://127.0.0.1:{port}"
    wait_for_http(f"{address}/healthz/live", process)
    return address, token


def posts(address: str, token: str, calls: int = CALLS) -> Load:
    """Have so many notifications accepted."""
    call = partial(http_load.load, address, "POST", "/api/v1/notifications", clients=CLIENTS)
    return call(calls=calls, token=token, body=json.dumps(MESSAGE))


def empty_calls(address: str) -> Load:
    """Call the empty view as often."""
    return http_load.load(address, "GET", "/healthz/live", clients=CLIENTS, calls=CALLS)


def _seconds_of_batch(address: str, token: str, body: str) -> float:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    started = time.perf_counter()
    connection.request("POST", "/api/v1/notifications/batch", body, headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    seconds = time.perf_counter() - started
    connection.close()
    if answer.get("accepted") != ROWS:
        raise RuntimeError(f"{response.status}: {answer}")
    return seconds


API = Benchmark(
    title=f"POST /notifications, {CLIENTS} clients",
    floor_title="an empty view of the same server",
    unit="/s",
    prepare=prepare_pace,
    target=">= 0.5 x",
)

API_LATENCY = Benchmark(
    title=f"POST /notifications, {CLIENTS} clients, p99",
    floor_title="what it may be",
    unit=" ms",
    prepare=prepare_latency,
    target=f"<= {LATEST:.0f} ms",
)

API_BATCH = Benchmark(
    title=f"POST /notifications/batch of {ROWS:,} rows",
    floor_title="what it must be",
    unit=" rows/s",
    prepare=prepare_batch,
    target=f">= {LEAST_ROWS:,.0f} rows/s",
)
