"""POST /api/v1/notifications, durable on 201, beside an empty django-ninja POST that inserts a row.

Both sides: the same web server with the same settings and middleware, the same Postgres and
Redis, the same number of clients that keep their connections. Ours also asks who calls and how
often, checks the request, keeps it idempotent and publishes a message to a worker (none runs here).
"""

import http.client
import json
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from bench.benchmark import Benchmark, Sample
from bench.stage import Stage
from tests.servers.process import free_port
from tests.servers.processes import wait_for_http

CALLS = 1500
CLIENTS = 8
BODY = json.dumps({"channel": "simulator", "recipient": "bench", "subject": "S", "body": "B"})


def prepare(stage: Stage) -> Callable[[], Sample]:
    from notifications.operations import api_keys

    token = api_keys.create("bench", rate=1_000_000).token
    ours = _serve(stage, "config.wsgi:application")
    floor = _serve(stage, "bench.empty_api:application")
    return lambda: Sample(
        ours=CALLS / _seconds(ours, "/api/v1/notifications", token),
        floor=CALLS / _seconds(floor, "/api/v1/empty", token),
    )


def _serve(stage: Stage, application: str) -> str:
    """Start a web server in one process with four threads; return its address."""
    port = free_port()
    process = stage.processes.start(
        "web",
        *("granian", "--interface", "wsgi", application),
        *("--host", "127.0.0.1", "--port", str(port), "--blocking-threads", "4"),
        LOG_LEVEL="WARNING",
        HTTPS="0",
    )
    address = f"http://127.0.0.1:{port}"
    wait_for_http(f"{address}/healthz/live", process)
    return address


def _seconds(address: str, path: str, token: str) -> float:
    """Return the seconds that all calls take, spread over the clients. Raises on any refusal."""
    failures: list[str] = []

    def client() -> None:
        connection = http.client.HTTPConnection(urlsplit(address).netloc)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        for _ in range(CALLS // CLIENTS):
            connection.request("POST", path, BODY, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 201:
                failures.append(answer.decode(errors="replace"))
                return
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(failures[0])
    return time.perf_counter() - started


API = Benchmark(
    title="POST /notifications, 8 clients",
    floor_title="an empty django-ninja POST that inserts one row",
    unit="/s",
    prepare=prepare,
    target=">= 0.5 x",
)
