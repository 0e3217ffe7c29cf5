"""The API as it runs: in its own process, under load, and with parts of the system away."""

import asyncio
import json
import os
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from django.test import Client

from notifications.models import Notification, Status
from notifications.operations import api_keys
from tests.integration.notifications.api.conftest import SIMULATED
from tests.servers.postgres import PostgresServer
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer
from tests.thorough import THOROUGH

CLIENTS, EACH = 50, 20
MANY = 100_000
SOME = MANY if THOROUGH else 20_000  # of CSV: what is kept in memory does not grow with them


@pytest.fixture
def key(transactional_db: None) -> str:
    return api_keys.create("live", rate=100_000).token


def session(address: str, key: str, **options: object) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=f"{address}/api/v1", headers=headers, timeout=60)


def test_fifty_clients_at_once_get_no_error_and_lose_nothing(
    processes: Processes, key: str
) -> None:
    _, address = processes.web()

    def one(number: int) -> list[int]:
        # httpx would take most of the time for itself.
        client = HTTPConnection(address.removeprefix("http://"), timeout=60)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        statuses = []
        for turn in range(EACH):
            body = json.dumps({**SIMULATED, "reference": f"{number}-{turn}"})
            client.request("POST", "/api/v1/notifications", body, headers)
            answer = client.getresponse()
            answer.read()
            statuses.append(answer.status)
        client.close()
        return statuses

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(one, range(CLIENTS)))
    assert {status for statuses in answers for status in statuses} == {201}
    references = set(Notification.objects.values_list("reference", flat=True))
    assert len(references) == CLIENTS * EACH


def test_fifty_repetitions_at_once_make_one_notification(processes: Processes, key: str) -> None:
    _, address = processes.web()

    async def everyone() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=60) as client:
            return await asyncio.gather(
                *(
                    client.post(
                        f"{address}/api/v1/notifications",
                        json=SIMULATED,
                        headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "once"},
                    )
                    for _ in range(CLIENTS)
                )
            )

    answers = asyncio.run(everyone())
    assert sorted(a.status_code for a in answers) == [200] * (CLIENTS - 1) + [201]
    assert len({a.text for a in answers}) == 1
    assert Notification.objects.count() == 1


def as_json(rows: list[dict[str, str]]) -> tuple[bytes, str]:
    return json.dumps(rows).encode(), "application/json"


def as_csv(rows: list[dict[str, str]]) -> tuple[bytes, str]:
    names = ("recipient", "reference", "name")
    lines = [",".join(row.get(name, "") for name in names) for row in rows]
    return "\n".join([",".join(names), *lines]).encode(), "text/csv"


def peak_megabytes(pid: int) -> float:
    """Return the most memory that a process and its children had at a time."""
    own = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(own[1]) / 1024 if own else 0.0) + sum(map(peak_megabytes, map(int, children)))


@pytest.mark.parametrize(("write", "many"), [(as_json, MANY), (as_csv, SOME)])
def test_very_many_rows_come_in_one_request_and_the_bad_ones_are_named(
    processes: Processes, key: str, write: Any, many: int
) -> None:
    rows = [{"recipient": f"user{n}", "reference": f"order {n}"} for n in range(many)]
    rows[4999] = rows[many - 1] = {"recipient": "", "reference": "nobody"}
    body, content_type = write(rows)
    web, address = processes.web()
    query = {"channel": "simulator", "template": "hello", "priority": "low"}
    with session(address, key) as api:
        api.post("/templates", json={"name": "hello", "channel": "simulator"})
        api.post("/templates/hello/versions", json={"parts": {"body": "Hello"}})
        published = api.post("/templates/hello/versions/1/publish")
        assert published.status_code == 200, published.text
        api.get("/queues")
        before = peak_megabytes(web.pid)
        answer = api.post(
            "/notifications/batch",
            content=body,
            params=query,
            headers={"Content-Type": content_type},
        )
        assert answer.status_code == 202, answer.text
        made = answer.json()
        assert (made["accepted"], made["refused"]) == (many - 2, 2)
        assert [error["row"] for error in made["errors"]] == [5000, many]
        if content_type == "text/csv":
            assert [error["line"] for error in made["errors"]] == [5001, many + 1]
        assert api.get(f"/notifications/batch/{made['id']}").json()["progress"] == {
            "queued": many - 2
        }
        assert peak_megabytes(web.pid) - before < 200
        if content_type != "text/csv":
            return
        # Where all rows are refused, their errors are kept in a report, and none in memory.
        before = peak_megabytes(web.pid)
        bad = many // 2
        body, _ = write([{"recipient": "", "reference": "nobody"}] * bad)
        answer = api.post(
            "/notifications/batch",
            content=body,
            params=query,
            headers={"Content-Type": content_type},
        )
        made = answer.json()
        assert (made["accepted"], made["refused"], len(made["errors"])) == (0, bad, 1000)
        report = api.get(made["errors_url"].removeprefix("/api/v1"), params={"format": "csv"})
        assert report.text.count("\n") == bad + 1
    assert peak_megabytes(web.pid) - before < 30


BROKEN = [
    *(f"charset={name}" for name in ("rot13", "zip", "punycode", "undefined", "klingon", '"hex"')),
    *("CHARSET = rot13", "charset*=utf-8''rot13", "name*=klingon''x"),
]


def test_a_charset_that_is_none_gets_a_problem_and_leaves_nothing(
    processes: Processes, key: str
) -> None:
    web, address = processes.web()
    query = {"channel": "simulator", "name": "Grüße"}
    with session(address, key) as api:

        def posted(path: str, body: str, content_type: str, **given: Any) -> httpx.Response:
            headers = {"Content-Type": content_type}
            return api.post(path, content=body, headers=headers, **given)

        for parameter in BROKEN:
            for path, body, kind, given in (
                ("/notifications/batch", "recipient,body\nada,Hi\n", "text/csv", query),
                ("/notifications/batch", json.dumps([SIMULATED]), "application/json", query),
                ("/notifications", json.dumps(SIMULATED), "application/json", {}),
            ):
                answer = posted(path, body, f"{kind}; {parameter}", params=given)
                assert answer.status_code == 415, (parameter, path, answer.text)
                assert answer.headers["Content-Type"] == "application/problem+json"
        assert not Notification.objects.exists()
        many = "&".join(f"a{n}=1" for n in range(2000))
        answer = posted(f"/notifications?{many}", "{}", "application/json; charset=utf-8")
        assert answer.status_code in (400, 422)
        assert answer.headers["Content-Type"] == "application/problem+json"
        # Other pages are read as if nothing was declared.
        form = "application/x-www-form-urlencoded; charset=rot13"
        assert posted(f"{address}/unsubscribe/x", "a=b", form).status_code == 404
        assert posted(f"{address}/admin/login/", "a=b", form).status_code == 403
    assert "Traceback" not in web.output()


def test_a_refusal_leaves_the_connection_to_the_next_request(processes: Processes) -> None:
    _, address = processes.web()
    place = urlsplit(address)
    head = (
        f"POST /api/v1/notifications HTTP/1.1\r\nHost: {place.netloc}\r\n"
        "Content-Type: application/json\r\nContent-Length: 10\r\n\r\n"
    )
    with socket.create_connection((place.hostname or "", place.port or 80), 30) as client:
        for _ in range(3):
            client.sendall(head.encode())
            time.sleep(0.2)  # the body comes in a packet of its own, after the refusal
            client.sendall(b"0123456789")
            answer = HTTPResponse(client)
            answer.begin()
            assert answer.status == 401
            answer.read()


def test_a_request_is_followed_by_its_id_from_web_to_worker(
    processes: Processes, key: str, wait_until: Callable[..., Any]
) -> None:
    web, address = processes.web()
    worker = processes.worker()
    with session(address, key) as api:
        api.post("/notifications", json=SIMULATED, headers={"X-Request-ID": "follow-me-1"})
    web.wait_for_output("follow-me-1")
    worker.wait_for_output("provider_call")
    line = re.search(r".*provider_call.*", worker.output())
    assert line is not None
    assert "follow-me-1" in line[0]
    assert key not in web.output() + worker.output()


def test_what_nobody_has_to_mend_is_neither_an_error_nor_a_traceback_in_the_log(
    processes: Processes, key: str, wait_until: Callable[..., Any]
) -> None:
    web, address = processes.web()
    worker = processes.worker()
    with session(address, key) as api:
        answers = [
            api.get(f"/notifications/{uuid4()}").status_code,
            api.post("/notifications", json={**SIMULATED, "channel": "pigeon"}).status_code,
            api.get("/notifications", headers={"Authorization": "Bearer wrong"}).status_code,
            api.put("/notifications", json={}).status_code,
        ]
        refused = {**SIMULATED, "recipient": "ada?result=permanent&code=550"}
        made = api.post("/notifications", json=refused).json()
        failed = Notification.objects.filter(id=made["id"], status=Status.FAILED)
        wait_until(failed.exists)
        api.get("/last", headers={"X-Request-ID": "the-last-one"})
    assert answers == [404, 422, 401, 405]
    web.wait_for_output("the-last-one")
    worker.wait_for_output(f"[{made['id']}] raised expected: DeliveryFailed")
    for log in (web.output(), worker.output()):
        assert "[error" not in log
        assert "Traceback" not in log


def test_what_is_away_is_said_and_what_can_be_accepted_is(
    processes: Processes,
    migrated_postgres_server: PostgresServer,
    redis_server: RedisServer,
    transactional_db: None,
    wait_until: Callable[..., Any],
) -> None:
    env = {"DATABASE_URL": migrated_postgres_server.url, "BROKER_URL": redis_server.url}
    manage = ("python", "manage.py")
    made = processes.run("key", *manage, "create_api_key", "live", **env)
    found = re.search(r"ntf_live_\w{12}_\S{43}", made)
    assert found is not None
    _, address = processes.web(**env)
    with session(address, found[0]) as api:
        ready = f"{address}/healthz/ready"
        assert api.get(ready).json()["status"] == "ready"

        redis_server.kill()
        wait_until(lambda: api.get(ready).status_code == 503)  # an answer is kept for a moment
        assert api.get(ready).json()["failed"] == ["broker"]
        assert api.get(f"{ready}?without=broker").status_code == 200
        assert api.post("/notifications", json=SIMULATED).status_code == 201
        queues = {queue["name"]: queue for queue in api.get("/queues").json()}
        unknown = {"share": None, "service_time": None}
        usual = {"weight": 4, "source": "settings"}
        assert queues["simulator.medium"]["allocation"] == usual | unknown
        assert queues["simulator.medium"]["released"] is None
        shown = processes.run("allocation", *manage, "allocation", "--all", **env)
        assert re.search(r"simulator\.medium +4 +unknown +unknown", shown)

        migrated_postgres_server.kill()
        answer = api.post("/notifications", json=SIMULATED)
        assert answer.status_code == 503
        assert answer.json()["type"].endswith("/database-away")
        assert int(answer.headers["Retry-After"]) > 0
        wait_until(lambda: "database" in api.get(ready).json()["failed"])
        assert api.get(f"{address}/healthz/live").status_code == 200

        redis_server.start()
        migrated_postgres_server.start()
        wait_until(lambda: api.get(ready).status_code == 200)
        assert api.post("/notifications", json=SIMULATED).status_code == 201


def test_missing_migrations_are_not_ready(
    processes: Processes, postgres_server: PostgresServer, transactional_db: None
) -> None:
    processes.run(
        "migrate",
        *("python", "manage.py", "migrate", "--no-input", "notifications", "0001"),
        DATABASE_URL=postgres_server.url,
    )
    _, address = processes.web(DATABASE_URL=postgres_server.url)
    answer = httpx.get(f"{address}/healthz/ready")
    assert (answer.status_code, answer.json()["failed"]) == (503, ["migrations"])
    assert os.environ.get("DATABASE_URL") != postgres_server.url


def test_the_root_page_leads_everywhere(client: Client, db: None) -> None:
    assert client.get("/favicon.ico").status_code == 204  # browsers ask for it by themselves
    page = client.get("/").content.decode()
    for address in re.findall(r'href="([^"]+)"', page):
        assert client.get(address).status_code in (200, 302), address


@pytest.mark.parametrize("given", ["naïve-11".encode(), b"caf\xe9", b""])
def test_a_key_that_a_header_cannot_carry_is_refused(
    processes: Processes, key: str, given: bytes
) -> None:
    _, address = processes.web()
    for path, body in (("notifications", SIMULATED), ("events", {"name": "order.paid"})):
        answer = httpx.post(
            f"{address}/api/v1/{path}",
            json=body,
            headers=[
                (b"Authorization", f"Bearer {key}".encode()),
                (b"Idempotency-Key", given),
            ],
        )
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["field"].lower() == "idempotency-key", answer.text
        assert "body" in answer.json()["errors"][0]["message"]
    assert not Notification.objects.exists()
