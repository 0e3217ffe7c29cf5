"""What no worker can receive is dropped, counted, and told of without a word of what it says."""

import base64
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings

from config import celery_app
from tests.integration.notifications.metrics.test_counting import scrape, total
from tests.integration.scheduling.jobs_app import RUNS
from tests.servers.process import free_port, wait_until
from tests.servers.processes import Processes

APP = "tests.integration.scheduling.jobs_app"
SECRET = "s3cret"
OF_UNKNOWN_TYPE: dict[str, Any] = {"content-type": f"application/{SECRET}"}
EMPTY = [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


def message(task: Any = "jobs.note", body: bytes | None = None, **changes: Any) -> dict[str, Any]:
    """Make a message as kombu writes it into Redis."""
    own = [[SECRET], *EMPTY[1:]]
    headers = {"lang": "py", "task": task, "id": "the-id", "retries": 0, "timelimit": [None, None]}
    properties = {
        "correlation_id": "the-id",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "jobs"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": "the-tag",
    }
    return {
        "body": base64.b64encode(json.dumps(own).encode() if body is None else body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
        **changes,
    }


ELEMENTS: dict[str, bytes] = {
    "no headers": json.dumps(message(headers=None)).encode(),
    "no JSON": SECRET.encode(),
    "bytes": b"\xff\xfe" + SECRET.encode(),
    "a number": b"7",
    "a list": json.dumps([SECRET]).encode(),
    "an object of other keys": json.dumps({SECRET: SECRET}).encode(),
    "deep": b"[" * 100_000,
    "body that is no base64": json.dumps(message() | {"body": SECRET + "="}).encode(),
    "properties of another kind": json.dumps(message() | {"properties": [SECRET]}).encode(),
}
MESSAGES: dict[str, dict[str, Any]] = {
    "unknown task": message(f"{SECRET} nobody@example.org"),
    "name that is a list": message([SECRET]),
    "name that is a number": message(7),
    "headers that are a list": message(headers=[SECRET]),
    "no task": message(headers={"id": f"{SECRET} {SECRET}"}),
    "body of one's own": message(headers={}, body=json.dumps({SECRET: SECRET}).encode()),
    "first protocol": message(
        headers={}, body=json.dumps({"task": f"{SECRET}!", "id": "x"}).encode()
    ),
    "pickle": message(
        body=pickle.dumps(SECRET), **{"content-type": "application/x-python-serialize"}
    ),
    "pickle without headers": message(
        headers={}, body=pickle.dumps(SECRET), **{"content-type": "application/x-python-serialize"}
    ),
    "unknown type": message(**OF_UNKNOWN_TYPE),
    "unknown type without headers": message(headers={}, **OF_UNKNOWN_TYPE),
    "body that is not JSON": message(body=SECRET.encode()),
    "body that is an object": message(body=json.dumps({SECRET: SECRET}).encode()),
    "arguments of another kind": message(body=json.dumps([SECRET, [SECRET], EMPTY[2]]).encode()),
    "arguments that do not fit": message(body=json.dumps([[SECRET] * 9, *EMPTY[1:]]).encode()),
    "deep body": message(body=b"[" * 100_000),
    "huge number": message(body=b"[[" + b"9" * 5000 + b"], {}, {}]"),
}


@pytest.fixture
def push(db: None) -> Any:
    with redis.Redis.from_url(settings.BROKER_URL) as client:
        client.flushdb()
        yield lambda *elements: client.rpush("jobs", *elements)


def test_what_is_no_message_of_a_task_costs_itself_alone(
    processes: Processes, push: Callable[..., int], tmp_path: Path
) -> None:
    port, runs = free_port(), tmp_path / "runs.txt"
    worker = processes.worker("-c", "1", "-I", APP, METRICS_PORT=str(port), **{RUNS: str(runs)})
    note = celery_app.tasks.get("jobs.note")
    assert note is not None
    push(*ELEMENTS.values(), *(json.dumps(message) for message in MESSAGES.values()))
    note.apply_async(args=["after all"], queue="jobs")
    wait_until(lambda: runs.exists() and "after all" in runs.read_text())
    assert worker.returncode is None
    assert SECRET not in worker.output()
    assert "nobody@example.org" not in worker.output()
    seen = scrape(f"http://127.0.0.1:{port}/metrics")
    assert total(seen, "messages_dropped_total", reason="no_message") == len(ELEMENTS)
    assert total(seen, "messages_dropped_total", reason="unknown_task") == 3
    for reason in ("unknown_format", "not_decoded"):
        assert total(seen, "messages_dropped_total", reason=reason) > 0


def test_a_message_that_is_always_given_back_is_counted_told_of_once_and_waits(
    processes: Processes, push: Callable[..., int], tmp_path: Path
) -> None:
    port, runs = free_port(), tmp_path / "runs.txt"
    worker = processes.worker("-c", "1", "-I", APP, METRICS_PORT=str(port), **{RUNS: str(runs)})
    sent = celery_app.tasks["jobs.give_back"].apply_async(args=[SECRET], queue="jobs")
    worker.wait_for_output(f"id={sent.id} task=jobs.give_back")
    celery_app.tasks["jobs.note"].apply_async(args=["meanwhile"], queue="jobs")
    wait_until(lambda: runs.exists() and "meanwhile" in runs.read_text())
    address = f"http://127.0.0.1:{port}/metrics"
    wait_until(lambda: total(scrape(address), "messages_requeued_total") >= 7)
    assert worker.output().count("message_given_back_repeatedly") == 1
    assert SECRET not in worker.output()
