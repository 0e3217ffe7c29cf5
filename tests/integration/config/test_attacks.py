"""Further attacks on a running web process: by neighbours, people, test keys, other projects."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import connection

from notifications.models import (
    EventRule,
    Hold,
    Notification,
    Project,
    ProviderAccount,
    Suppression,
)
from notifications.operations import api_keys
from notifications.recipients import unsubscribe_links
from notifications.submission import send
from tests import roles
from tests.integration.notifications.api.test_projects import publish
from tests.servers.processes import Processes

SECRET = "the-secret-body"
HERE = "notifications.example.org"


class Web:
    """A running web process, with keys and people of all kinds."""

    def __init__(self, address: str, output: Callable[[], str]) -> None:
        self.address, self.output = address, output
        self.place = urlsplit(address)

    def client(self, **options: Any) -> httpx.Client:
        # A refusal ends the connection of who has not sent all of a body yet.
        once = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(base_url=self.address, timeout=30, limits=once, **options)

    def api(self, token: str) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.address}/api/v1",
            timeout=30,
            headers={"Authorization": f"Bearer {token}"},
        )

    def person(self, name: str) -> httpx.Client:
        browser = self.client(follow_redirects=True)
        browser.get("/admin/login/")
        form = {"username": name, "password": "secret"}
        answer = browser.post("/admin/login/?next=/admin/", data=form | token_of(browser))
        assert answer.url.path == "/admin/", answer.text
        return browser

    def raw(self, sent: bytes) -> bytes:
        with socket.create_connection((self.place.hostname, self.place.port or 80), 30) as made:
            with suppress(OSError):  # a server that refuses may close before it has read all
                made.sendall(sent)
                made.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: made.recv(65536), b""))


def token_of(browser: httpx.Client) -> dict[str, str]:
    return {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}


@pytest.fixture
def web(processes: Processes, transactional_db: None) -> Iterator[Web]:
    roles.make()
    for role in roles.NAMES:
        roles.person(role)
    Project.objects.create(name="shop")
    process, address = processes.web(
        ALLOWED_HOSTS=f"127.0.0.1,{HERE}", PUBLIC_URL=f"https://{HERE}", OUTBOX="1"
    )
    yield Web(address, process.output)
    assert SECRET not in process.output()
    assert "Traceback" not in process.output()


def test_further_attacks_by_a_neighbour_come_to_nothing(web: Web) -> None:
    row = send(channel="simulator", recipient="ada", body=SECRET)
    with web.client() as anybody:
        for path in (
            *("/static/..%2f..%2f..%2f..%2fetc/passwd", "/static//etc/passwd"),
            *("/static/%2e%2e/%2e%2e/manage.py", "/static/..\\..\\manage.py", "//etc/passwd"),
            *("/api/v1//notifications", "/API/v1/notifications", "/api/v1/notifications/../keys"),
            *(f"/api/v1/notifications/{row.id}/", "/admin/../api/v1/notifications;x=y"),
        ):
            answer = anybody.get(path)
            assert answer.status_code in (301, 302, 400, 401, 404), path
            assert SECRET not in answer.text
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
            for path in ("/admin/login/", "/api/v1/openapi.json", "/unsubscribe/x"):
                answer = anybody.get(path, headers={"Host": host})
                assert (answer.status_code, "evil" in answer.text) == (400, False), (host, path)
        ways: list[dict[str, Any]] = [
            {"params": {"api_key": "x", "key": "x", "access_token": "x"}},
            {"cookies": {"Authorization": "Bearer x", "sessionid": "x"}},
            {"headers": {"Authorization": "Basic eDp4"}},
            {"headers": {"X-API-Key": "x"}},
        ]
        for credentials in ways:
            assert anybody.get("/api/v1/notifications", **credentials).status_code == 401
        for odd in ('"}\x1b[31m{"event":"forged"', '"}{"event":"forged"', "forged\tid"):
            answer = anybody.get("/api/v1/openapi.json", headers={"X-Request-ID": odd})
            assert "forged" not in answer.headers.get("X-Request-ID", "")
        link = unsubscribe_links.url(row.id, "email", "ada@example.org")
        token = link.rpartition("/")[2]
        for forged in (
            token[:-1],
            token.swapcase(),
            f"{token}:x",
            token.partition(":")[0],
            "a" * 9000,
        ):
            assert anybody.post(f"/unsubscribe/{forged}").status_code in (400, 403, 404, 414, 431)
    for head in (
        b"GET /healthz/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 1_000_000,
        b"GET /healthz/live?" + b"y" * 1_000_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n"
        b"Content-Length: 0\r\n\r\nGET / HTTP",
    ):
        try:
            said = web.raw(head)
        except ConnectionError:
            continue
        assert not said or said.split(b" ")[1][:1] == b"4", said[:100]
    assert not Suppression.objects.exists()
    assert web.client().get("/healthz/live").status_code == 200


def test_a_callback_that_anybody_can_call_takes_any_body(web: Web) -> None:
    for kind, channel in (("twilio", "sms"), ("anymail", "email"), ("simulator", "push")):
        ProviderAccount.objects.create(
            name=f"{kind}-a", kind=kind, channel=channel, settings={"service": "postmark"}
        )
    bodies = (b"[" * 200_000, b'{"a":' * 100_000, b"\xff" * 100, b"a=b&" * 50_000, b"")
    with web.client() as anybody:
        for name in ("twilio-a", "anymail-a", "simulator-a", "no-such", "a" * 3000):
            for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/x"):
                for body in bodies:
                    headers = {"Content-Type": kind}
                    answer = anybody.post(f"/webhooks/{name}", content=body, headers=headers)
                    assert answer.status_code < 500, (name, kind, body[:9])


def test_further_attacks_by_people_come_to_nothing(web: Web) -> None:
    rows = [
        send(channel="email", recipient=f"{n}@example.org", subject="S", body=SECRET) for n in "ab"
    ]
    Hold.objects.create(scope="queue", value="email.low", reason="<script>alert(1)</script>")
    listed = "/admin/notifications/notification/"
    with web.client() as anybody:
        form = {"username": "viewer", "password": "secret"}
        for where in ("//evil.example", "https:evil.example", "/\\evil.example", "javascript:x"):
            anybody.cookies.clear()
            anybody.get("/admin/login/")
            given = {**form, **token_of(anybody), "next": where}
            answer = anybody.post("/admin/login/", params={"next": where}, data=given)
            assert answer.headers["Location"].startswith("/admin"), where
    with closing(web.person("viewer")) as viewer:
        for query in (
            *({"_to_field": "body"}, {"_to_field": "recipient", "_popup": "1"}, {"_facets": "1"}),
            *({"o": "-99"}, {"o": "1.2.3.-4"}, {"all": ""}, {"e": "1"}, {"q": "secret"}),
            *({"body__regex": "^the"}, {"_changelist_filters": "body__startswith=the"}),
        ):
            answer = viewer.get(listed, params=query)
            assert answer.status_code in (200, 400), query
            assert SECRET not in answer.text
            assert "a@example.org" not in answer.text
        for app, model, field in (
            ("notifications", "attempt", "notification"),
            ("notifications", "faileddelivery", "notification"),
            ("auth", "user", "groups"),
            ("django_celery_beat", "periodictask", "crontab"),
        ):
            asked = {"app_label": app, "model_name": model, "field_name": field, "term": "the"}
            answer = viewer.get("/admin/autocomplete/", params=asked)
            assert SECRET not in answer.text, asked
        assert SECRET not in viewer.get("/admin/search/", params={"s": "the-secret"}).text
        assert SECRET not in viewer.get("/find/", params={"q": SECRET[:5]}).text
        where = f"{listed}{rows[0].pk}/"
        for method in ("PUT", "DELETE", "PATCH"):
            assert viewer.request(method, f"{where}cancel/").status_code in (403, 405), method
        other = {"X-HTTP-Method-Override": "POST", "X-Method-Override": "POST"}
        assert viewer.get(f"{where}cancel/", headers=other).status_code in (302, 403, 405)
        assert viewer.post(f"{where}cancel/", data={"_form_submitted": "on"}).status_code == 403
        assert "<script>alert(1)" not in viewer.get("/admin/notifications/hold/").text
        with web.api("x") as api:
            api.headers.pop("Authorization")
            api.cookies = viewer.cookies
            assert api.get("/notifications").status_code == 401
        # A role or an account that is taken away is gone at once, also in open sessions.
        User.objects.get(username="viewer").groups.clear()
        assert viewer.get(listed).status_code == 403
        User.objects.filter(username="viewer").update(is_active=False)
        assert viewer.get(listed).url.path == "/admin/login/"
    with closing(web.person("operator")) as operator:
        mine = User.objects.get(username="operator")
        for page, form in (
            (f"/admin/auth/user/{mine.pk}/change/", {"is_superuser": "on"}),
            (f"/admin/auth/user/{mine.pk}/password/", {"password1": "x", "password2": "x"}),
            ("/personal-data/", {"recipient": "a@example.org", "export": "1"}),
            ("/admin/config/auditentry/export/", {}),
        ):
            answer = operator.post(page, data={**form, **token_of(operator)})
            assert answer.status_code == 403, page
        mine.refresh_from_db()
        assert not mine.is_superuser
    assert {row.status for row in Notification.objects.all()} == {"queued"}


def test_further_attacks_by_a_test_key_and_another_project_come_to_nothing(web: Web) -> None:
    live, test, other = (
        web.api(api_keys.create(name, kind=kind, project=project, rate=1000).token)
        for name, kind, project in (
            ("live", "live", "default"),
            ("test", "test", "default"),
            ("other", "live", "shop"),
        )
    )

    def ok(client: httpx.Client, method: str, path: str, body: Any = None) -> Any:
        answer = client.request(method, path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    class Plain:  # what ``publish`` asks of a caller
        def __init__(self, client: httpx.Client) -> None:
            self.client = client

        def ok(self, method: str, path: str, body: Any = None) -> Any:
            return ok(self.client, method, path, body)

    publish(Plain(live), "welcome", "live")
    rule = {
        "name": "greet",
        "event": "user.made",
        "channel": "simulator",
        "recipients": "data.to",
        "template": "welcome",
    }
    ok(live, "POST", "/event-rules", rule)
    for client in (test, other):
        event = {"name": "user.made", "key": "1", "data": {"to": "ada"}}
        effects = ok(client, "POST", "/events", event)["effects"]
        assert len(effects) == (client is test)  # by the live rule, as by a live template: a test
        stolen = {**rule, "name": "stolen", "template": "welcome"}
        client.post("/event-rules", json=stolen)
    assert not Notification.objects.filter(test=False, project="default").exists()
    assert EventRule.objects.filter(project="default", test=False).count() == 1
    message = {"channel": "simulator", "recipient": "a", "body": "B"}
    sent = ok(live, "POST", "/notifications", message)
    for client in (test, other):
        for path, given in (
            (f"/notifications/{sent['id']}/cancel", None),
            ("/templates/welcome/versions/1/publish", None),
            ("/templates/welcome/rollback", {"version": 1}),
        ):
            client.post(path, json=given)
        for field, value in (("project", "default"), ("batch", sent["id"]), ("id", sent["id"])):
            body: dict[str, Any] = {**message, field: value}
            assert client.post("/notifications", json=body).status_code == 422, field
        job: dict[str, Any] = {
            "name": "report",
            "handler": "notifications.send_notification",
            "schedule": {"every": 60},
            "kwargs": {**message, "project": "default", "test": False},
        }
        made = client.post("/jobs", json=job)
        assert made.status_code == 403 or made.json()["definition"]["kwargs"]["test"] is True
        assert sent["id"] not in client.get("/notifications", params={"limit": 100}).text
    assert ok(live, "GET", f"/notifications/{sent['id']}")["status"] != "cancelled"
    # A page's cursor is a place, and opens nothing.
    for n in range(3):
        ok(
            live,
            "POST",
            "/notifications",
            {"channel": "simulator", "recipient": f"{n}", "body": "B"},
        )
    cursor = ok(live, "GET", "/notifications?limit=1")["next_cursor"]
    assert ok(other, "GET", f"/notifications?limit=5&cursor={cursor}")["items"] == []
    # A batch of one's own takes no row of another's, and a huge number is no id.
    for id_ in ("9" * 40, "-1", "0x1", "%00", "1e9"):
        assert live.get(f"/suppressions/{id_}").status_code in (404, 405, 422)
        assert live.get(f"/jobs/{id_}").status_code in (404, 422)
    with connection.cursor() as cursor_:
        cursor_.execute("SELECT count(*) FROM notifications_notification WHERE project = 'shop'")
        assert cursor_.fetchone()[0] == 0
    for client in (live, test, other):
        client.close()
