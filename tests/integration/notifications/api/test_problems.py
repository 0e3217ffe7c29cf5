"""Refusals: one form for all of them, whoever refuses."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Never
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import Settings

from notifications import audiences, submission
from notifications.api import problems
from notifications.api.application import api
from notifications.api.refusals import to_problem
from notifications.core.errors import InvalidNotification
from notifications.core.routing import SEND_TASK
from notifications.metrics.series import series
from notifications.models import Notification
from scheduling import watch
from tests.integration.notifications.api.conftest import SIMULATED, Caller

TROUBLE = """
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF row_to_json(NEW)::text ~ '"(status":"cancelled|name":"bad|recipient":"bad)'
AND row_to_json(NEW)::text !~ '"recipient":"probe"' THEN
RAISE EXCEPTION 'Dear Ada' USING ERRCODE = '{}'; END IF;
RETURN NEW; END $$;
CREATE TRIGGER trouble BEFORE INSERT OR UPDATE ON notifications_notification
FOR EACH ROW EXECUTE FUNCTION trouble();
CREATE TRIGGER trouble BEFORE INSERT OR UPDATE ON django_celery_beat_periodictask
FOR EACH ROW EXECUTE FUNCTION trouble();
CREATE TRIGGER trouble BEFORE INSERT OR UPDATE ON templates_engine_template
FOR EACH ROW EXECUTE FUNCTION trouble();
CREATE TRIGGER trouble BEFORE INSERT OR UPDATE ON notifications_suppression
FOR EACH ROW EXECUTE FUNCTION trouble();
"""


def counted(problem: Any) -> Any:
    return sum(
        sample.value
        for metric in series().api_problems.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["problem"] == problem
    )


def subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def test_every_error_of_the_door_has_a_problem_of_its_own() -> None:
    for kind in subclasses(InvalidNotification):
        problem = to_problem(kind("no", field="body", hint="Do this."))
        assert problem.kind in problems.KINDS, kind
        assert (problem.field, problem.hint) == ("body", "Do this.")


BODIES: dict[str, tuple[bytes, str, int]] = {
    "cut off": (b"{", "malformed-body", 400),
    "no UTF-8": (b"\xff\xfe", "malformed-body", 400),
    "half a surrogate pair in UTF-8": (b'{"to": "\xed\xa0\x80"}', "malformed-body", 400),
    "UTF-16": ('{"to": "a"}'.encode("utf-16"), "malformed-body", 400),
    "UTF-16 without a mark": ('{"to": "a"}'.encode("utf-16-be"), "malformed-body", 400),
    "NaN": (b'{"countdown": NaN}', "malformed-body", 400),
    "minus infinity": (b'{"countdown": -Infinity}', "malformed-body", 400),
    "a number too long": (b'{"countdown": ' + b"9" * 5000 + b"}", "malformed-body", 400),
    "endless": (b"[" * 100_000, "malformed-body", 400),
    "deep": (b'{"metadata": ' + b'{"a":' * 40 + b"1" + b"}" * 41, "malformed-body", 400),
    "a member twice": (b'{"recipient": "a", "recipient": "b"}', "malformed-body", 400),
    "a member twice in an object": (b'{"context": {"a": 1, "\\u0061": 1}}', "malformed-body", 400),
    "two text": (b"{} {}", "malformed-body", 400),
    "a comma too many": (b'{"to": 1,}', "malformed-body", 400),
    "a list": (b"[]", "invalid-request", 422),
    "nothing": (b"", "invalid-request", 422),
    "huge": (b'"' + b"x" * 16_000_000 + b'"', "body-too-large", 413),
}


@pytest.mark.parametrize(("body", "type_", "status"), BODIES.values(), ids=BODIES)
def test_a_body_that_cannot_be_read(call: Caller, body: bytes, type_: str, status: int) -> None:
    response = call("POST", "/notifications", body)
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["type"] == f"/api/v1/problems/{type_}"


def test_the_member_that_stands_twice_is_named(call: Caller) -> None:
    problem = call("POST", "/notifications", b'{"to": {"x": 1, "y": 2, "x": 3}}').json()
    assert (problem["field"], problem["detail"]) == ("x", "An object has two members 'x'.")


def test_each_way_in_takes_json_in_utf_8_with_one_member_of_a_name(call: Caller) -> None:
    twice = b'[{"recipient": "a", "recipient": "b"}]'
    for path in ("/api/v1/notifications", "/api/v1/notifications/batch"):
        for body, type_, status in (
            (twice, "application/json", 400),
            (b"{}", "application/json; charset=latin1", 415),
            (b"{}", "application/json; charset=utf-16", 415),
        ):
            answer = Client().post(path, body, type_, headers=call.headers)
            assert answer.status_code == status, (path, type_, answer.content)


@pytest.mark.parametrize("type_", ["application/json", "application/json; charset=UTF-8"])
def test_a_byte_order_mark_before_json_is_passed_over(call: Caller, type_: str) -> None:
    body = b"\xef\xbb\xbf" + json.dumps({**SIMULATED, "body": "Grüße"}, ensure_ascii=False).encode()
    answer = Client().post("/api/v1/notifications", body, type_, headers=call.headers)
    assert answer.status_code == 201
    assert Notification.objects.get().body == "Grüße"


def test_half_a_surrogate_pair_is_refused_wherever_it_stands(call: Caller) -> None:
    half = "\ud800"
    for body, field in (
        ({**SIMULATED, "body": half}, "body"),
        ({**SIMULATED, "metadata": {half: 1}}, "metadata"),
        ({**SIMULATED, "metadata": {"a": [half]}}, "metadata"),
        ({**SIMULATED, half: 1}, "body"),
        ({**SIMULATED, "to": {"recipient": half}}, "to.recipient"),
        ({**SIMULATED, "idempotency_key": half}, "idempotency_key"),
    ):
        answer = call("POST", "/notifications", json.dumps(body).encode())
        assert (answer.status_code, answer.json()["field"]) == (422, field), answer.content
    assert not Notification.objects.exists()


def test_a_send_by_plain_http_is_refused_rather_than_redirected(
    call: Caller, settings: Settings
) -> None:
    settings.SECURE_SSL_REDIRECT = True
    client = Client(headers=call.headers)
    sent = client.post("/api/v1/notifications", SIMULATED, "application/json")
    assert (sent.status_code, sent.json()["type"]) == (403, "/api/v1/problems/https-required")
    assert client.get("/api/v1/docs")["Location"] == "https://testserver/api/v1/docs"
    by_tls = client.post("/api/v1/notifications", SIMULATED, "application/json", secure=True)
    assert by_tls.status_code == 201


def test_a_form_is_no_json(call: Caller) -> None:
    response = Client().post("/api/v1/notifications", SIMULATED, headers=call.headers)
    assert response.status_code == 415


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/notifications/not-an-id", 422),
        ("GET", "/api/v2/notifications", 404),
        ("PUT", "/api/v1/notifications", 405),
        ("GET", "/api/v1/jobs/x", 404),
    ],
)
def test_there_is_no_html_anywhere(call: Caller, method: str, path: str, status: int) -> None:
    response = Client().generic(method, path, headers=call.headers)
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["request_id"] == response["X-Request-ID"]
    if status == 405:
        assert set(response["Allow"].split(", ")) == {"GET", "POST"}


@pytest.mark.parametrize(
    ("method", "path", "body", "problem"),
    [
        ("GET", "/notifications?limit=0", None, "invalid-request"),
        ("GET", "/notifications/11111111-2222-4333-8444-555555555555", None, "not-found"),
        ("POST", "/notifications", {"channel": "pigeon", "recipient": "x"}, "unknown-channel"),
        ("POST", "/notifications/batch", {}, "invalid-request"),
        ("DELETE", "/queues", None, "method-not-allowed"),
        ("GET", "/nowhere", None, "not-found"),
    ],
)
def test_every_refusal_is_counted_whatever_was_asked(
    call: Caller, method: str, path: str, body: dict[str, Any] | None, problem: str
) -> None:
    before = counted(problem)
    assert call(method, path, body).json()["type"].endswith(problem)
    assert counted(problem) == before + 1


def test_a_refused_key_is_counted(caller: Callable[..., Caller]) -> None:
    before = counted("missing-scope")
    assert caller(scopes=["read"])("POST", "/notifications", SIMULATED).status_code == 403
    assert counted("missing-scope") == before + 1


def test_a_host_that_is_not_ours_gets_a_problem_too(call: Caller) -> None:
    response = Client().get("/api/v1/queues", headers={**call.headers, "Host": "evil.example"})
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"


def test_a_fault_of_ours_tells_nothing_of_itself(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Never:
        raise RuntimeError("the password is seagull")

    monkeypatch.setattr(submission, "submit", fail)
    response = call("POST", "/notifications", SIMULATED)
    assert response.status_code == 500
    assert b"seagull" not in response.content
    assert response.json()["request_id"]
    assert not Notification.objects.exists()


@pytest.mark.parametrize("code", ["53100", "25006", "42501"])
def test_a_row_that_takes_no_write_is_refused_whatever_is_asked_of_it(
    transactional_db: None, call: Caller, code: str
) -> None:
    """The database is well for all others, and no process takes it for out."""
    made = call.ok("POST", "/notifications", {**SIMULATED, "countdown": 600})
    job = {"handler": SEND_TASK, "schedule": {"every": 90.0}, "kwargs": SIMULATED}
    with connection.cursor() as cursor:
        cursor.execute(TROUBLE.format(code))
    try:
        for method, path, body in (
            ("POST", f"/notifications/{made['id']}/cancel", None),
            ("POST", "/jobs", {**job, "name": "bad"}),
            ("POST", "/templates", {"channel": "simulator", "name": "bad"}),
            ("POST", "/suppressions", {"channel": "email", "recipient": "bad@example.org"}),
        ):
            refused = call(method, path, body)
            assert (refused.status_code, refused.json()["type"][len(problems.PATH) :]) == (
                422,
                "refused-by-database",
            ), path
            assert "Dear" not in refused.content.decode()
        call.ok("POST", "/jobs", {**job, "name": "good"})
        assert watch.database.outage is None
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION trouble CASCADE")


SLOW = """
SET statement_timeout = '3s'; ALTER TABLE notifications_recipient RENAME TO hidden;
CREATE VIEW notifications_recipient AS SELECT * FROM hidden WHERE pg_sleep(60) IS NOT NULL
"""
QUICK = """
DROP VIEW notifications_recipient; ALTER TABLE hidden RENAME TO notifications_recipient;
RESET statement_timeout
"""


def test_a_query_that_takes_too_long_is_no_outage(
    transactional_db: None, call: Caller, client: Client
) -> None:
    """Clients come back after an outage: they would repeat the heaviest query for ever."""
    submission.save_recipients([{"id": "ada", "addresses": {"email": "ada@example.org"}}])
    everyone = {"everyone": True}
    audiences.save_audience("all", everyone)
    batch = {"audience": "all", "common": {"channel": "email", "subject": "Hi", "body": "x"}}
    client.force_login(User.objects.create_superuser("root", "root@example.org", "secret"))
    client.raise_request_exception = False
    with connection.cursor() as cursor:
        cursor.execute(SLOW)
    try:
        for method, path, body, kind in (
            ("POST", "/audiences/preview", {"filter": everyone}, "filter-too-slow"),
            ("GET", "/audiences/all/preview", None, "filter-too-slow"),
            ("POST", "/notifications/batch", batch, "filter-too-slow"),
            ("GET", "/recipients", None, "query-too-slow"),
        ):
            refused = call(method, path, body)
            said = refused.json()
            assert (refused.status_code, said["type"]) == (422, problems.PATH + kind), said
            assert "A retry takes as long" in said["hint"]
            assert "Retry-After" not in refused
        page = client.get("/admin/notifications/recipient/")
        assert (page.status_code, "takes too long" in page.content.decode()) == (422, True)
        assert watch.database.outage is None
    finally:
        with connection.cursor() as cursor:
            cursor.execute(QUICK)


def test_a_request_keeps_the_id_it_came_with(call: Caller) -> None:
    assert call("GET", "/queues", X_Request_ID="abc-1")["X-Request-ID"] == "abc-1"
    forged = call("GET", "/queues", X_Request_ID="a b\tc" * 30)
    assert forged["X-Request-ID"] != "a b\tc" * 30


def test_each_type_is_explained_at_its_address(db: None) -> None:
    for name, kind in problems.KINDS.items():
        answer = Client().get(problems.PATH + name)
        assert answer.json() == {
            "type": problems.PATH + name,
            "status": kind.status,
            "title": kind.title,
        }
    assert Client().get(problems.PATH + "nonsense").status_code == 404


def test_every_operation_documents_its_refusals() -> None:
    document = api.get_openapi_schema()
    for methods in document["paths"].values():
        for operation in methods.values():
            assert "503" in {str(status) for status in operation["responses"]}
            for status, response in operation["responses"].items():
                kinds = set(response.get("content", {"application/json": 0}))
                wanted = {"application/json"} if int(status) < 300 else {problems.CONTENT_TYPE}
                if (operation["operationId"], status) == ("get_batch_errors", 200):
                    wanted = {"text/csv", "application/jsonl"}
                assert kinds == wanted, (operation["operationId"], status)


def test_a_query_with_an_unknown_name_is_refused_by_every_operation_that_reads(
    caller: Callable[..., Caller],
) -> None:
    call = caller()
    paths = api.get_openapi_schema()["paths"]
    reading = {path: methods["get"] for path, methods in paths.items() if "get" in methods}
    assert len(reading) > 15
    for path, operation in reading.items():
        filled = path.removeprefix("/api/v1")
        for parameter in operation["parameters"]:
            is_number = parameter["schema"].get("type") == "integer"
            name, value = parameter["name"], "1" if is_number else str(UUID(int=1))
            filled = filled.replace(f"{{{name}}}", value)
        refused = call("GET", filled, query={"statuss": "failed"})
        told = (refused.status_code, refused.json().get("field"))
        assert told == (422, "statuss"), (path, refused.content)


@pytest.mark.parametrize("path", ["/notifications", "/notifications/batch", "/jobs"])
def test_a_query_with_a_name_twice_is_refused(call: Caller, path: str) -> None:
    refused = call("GET", path, query={"limit": ["1", "2"]})
    assert refused.status_code == 422, refused.content
    told = refused.json()
    assert (told["type"].rpartition("/")[2], told["field"]) == ("invalid-request", "limit")
    assert "twice" in told["detail"]
    assert call("GET", path, query={"limit": ["1"]}).status_code == 200


TYPOS: list[tuple[str, dict[str, Any], str, str]] = [
    ("/notifications", {**SIMULATED, "boddy": "Hi"}, "boddy", "body"),
    ("/recipients", {"id": "c-1", "adresses": {}}, "adresses", "addresses"),
    ("/event-rules", {"name": "r", "dela": 5}, "dela", "delay"),
    ("/chains", {"name": "c", "steps": [{"chanel": "sms"}]}, "steps.0.chanel", "channel"),
    ("/chain-runs", {"chain": {"steps": [{"chanel": "sms"}]}}, "chain.steps.0.chanel", "channel"),
]


@pytest.mark.parametrize(("path", "body", "field", "meant"), TYPOS, ids=str)
def test_an_unknown_field_is_answered_with_the_known_ones(
    call: Caller, path: str, body: dict[str, Any], field: str, meant: str
) -> None:
    said = call("POST", path, body).json()
    of_field = [error["message"] for error in said["errors"] if error["field"] == field]
    assert of_field == ["There is no such field."], said
    assert said["field"] == field
    assert said["hint"].startswith("Known fields: ")
    assert meant in said["hint"].removeprefix("Known fields: ").rstrip(".").split(", ")


def test_a_hint_names_what_to_look_for(call: Caller, caller: Callable[..., Caller]) -> None:
    to = {"channel": "simulator", "to": {"recipient": "c-9"}, "body": "Hi"}
    rule = {"name": "r", "event": "a.b", "channel": "simulator", "template": "none", "to": "'x'"}
    throttle = {"category": "product", "channel": "push", "limit": 1, "rest": "digest"}
    older = {"field": "attributes.age", "op": "gt", "value": 30}
    common = {"channel": "simulator", "body": "Hi"}
    asked: dict[str, tuple[str, dict[str, Any], str]] = {
        "unknown-recipient": ("/notifications", to, "POST /api/v1/recipients"),
        "unknown-chain": ("/chain-runs", {"chain": "none"}, "GET /api/v1/chains"),
        "unknown-audience": (
            "/notifications/batch",
            {"audience": "none", "common": common},
            "GET /api/v1/audiences",
        ),
        "unknown-template": ("/event-rules", rule, ""),
        "invalid-field": ("/throttles", throttle, "items, count, rest"),
        "unindexed-filter": (
            "/audiences",
            {"name": "a", "filter": older},
            "manage.py index_attribute age",
        ),
    }
    for kind, (path, body, hint) in asked.items():
        said = call("POST", path, body).json()
        assert said["type"].endswith(kind), said
        assert hint in said.get("hint", ""), said
    reader = caller(scopes=["read"])
    said = reader("POST", "/notifications", {**SIMULATED}).json()
    assert "--scopes send " in said["hint"]


def test_an_unknown_part_of_a_template_is_named_before_a_missing_one(call: Caller) -> None:
    call.ok("POST", "/templates", {"name": "news", "channel": "email"})
    said = call("POST", "/templates/news/versions", {"parts": {"subject": "S", "txt": "T"}}).json()
    assert "no part txt" in said["detail"], said
    call.ok("POST", "/templates/news/versions", {"parts": {"subject": "S", "text": "T"}})
    call.ok("POST", "/templates/news/versions/1/publish")
    again = call("POST", "/templates/news/versions/1/publish").json()
    assert "what new notifications get" in again["detail"]
    assert "Roll back" not in again.get("hint", "")
