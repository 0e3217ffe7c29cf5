"""The admin's login by OpenID Connect and a second factor, in a real web process with an issuer."""

import base64
import hmac
import json
import os
import re
import struct
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import redis
from django.conf import settings
from django.test import RequestFactory
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from config import login_throttle
from notifications.db.shared_state import key_of
from tests.integration.notifications.providers import peers
from tests.integration.notifications.providers.peers import Peer
from tests.servers.postgres import migrated_server
from tests.servers.processes import Processes

pytest.importorskip("allauth", reason="the extra sso is not installed")
from allauth.core.exceptions import ImmediateHttpResponse

PASSWORD = "a password of hers"
ASKS = "/accounts/2fa/authenticate/"
SETS_UP = "/accounts/reauthenticate/"  # by the password again, which leads to the code
MAKE = f"""
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
hashed = make_password({PASSWORD!r})
for name in ("ada", "eve", "ben"):
    User.objects.create(username=name, email=name + "@example.org", password=hashed, is_staff=True,
                        is_superuser=True)
User.objects.create(username="customer", email="customer@example.org", password=hashed)
"""


@pytest.fixture(scope="module")
def issuer() -> Iterator[HTTPServer]:
    """An OpenID issuer that says of everybody what the test has it say."""
    from pytest_httpserver import HTTPServer  # noqa: PLC0415 -- one of its own for the module

    with HTTPServer() as server:
        address = server.url_for("")
        document = {name: f"{address}{name}" for name in ("authorize", "token", "userinfo", "keys")}
        server.expect_request("/.well-known/openid-configuration").respond_with_json(
            {
                "issuer": address,
                "authorization_endpoint": document["authorize"],
                "token_endpoint": document["token"],
                "userinfo_endpoint": document["userinfo"],
                "jwks_uri": document["keys"],
            }
        )
        yield server


@pytest.fixture(scope="module")
def system(issuer: HTTPServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start the web with both, over a database and a Redis of the test run."""
    folder = tmp_path_factory.mktemp("staff_login")
    server = migrated_server().start()
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        broker.flushdb()
    env = os.environ | {
        "DATABASE_URL": server.url,
        "BROKER_URL": settings.BROKER_URL,
        "VAR_DIR": str(folder / "var"),
        "ADMIN_SECOND_FACTOR": "required",
        "ADMIN_OIDC_ISSUER": issuer.url_for(""),
        "ADMIN_OIDC_CLIENT_ID": "us",
        "ADMIN_OIDC_CLIENT_SECRET": "a secret of ours",
        "WEBHOOK_ALLOW_PRIVATE_ADDRESSES": "0",
        "OUTGOING_PRIVATE_HOSTS": "",
        "GRANIAN_BLOCKING_THREADS": "2",
    }
    processes = Processes(env, folder)
    try:
        processes.run("make", "python", "manage.py", "shell", "-v", "0", "-c", MAKE)
        web, address = processes.web()
        yield processes, web, address
    finally:
        processes.end_all()
        server.stop()


@pytest.fixture
def browser(system: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=system[2], follow_redirects=True) as client:
        yield client


def post(browser: httpx.Client, path: Any, form: Any, **options: Any) -> Any:
    if "csrftoken" not in browser.cookies:
        browser.get("/accounts/login/")
    token = browser.cookies["csrftoken"]
    headers = {"Referer": str(browser.base_url)}
    return browser.post(
        path, data={**form, "csrfmiddlewaretoken": token}, headers=headers, **options
    )


def log_in(browser: httpx.Client, name: str, password: Any = PASSWORD) -> Any:
    return post(browser, "/accounts/login/", {"login": name, "password": password})


def code_of(secret: Any) -> str:
    """RFC 6238, with its defaults."""
    counter = struct.pack(">Q", int(time.time()) // 30)
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    at = digest[-1] & 15
    number = struct.unpack(">I", digest[at : at + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def set_up(browser: httpx.Client) -> str:
    """Set up a second factor on the page one was led to, and return its secret."""
    post(browser, "/accounts/reauthenticate/", {"password": PASSWORD})
    page = browser.get("/accounts/2fa/totp/activate/").text
    found = re.search(r"\b[A-Z2-7]{32}\b", page)
    assert found, page
    secret = found[0]
    done = post(browser, "/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    assert done.status_code == 200, done.text
    return secret


def by_issuer(
    browser: httpx.Client,
    issuer: HTTPServer,
    about: Any,
    process: str = "login",
    document: Any = None,
) -> Any:
    """Come back from the issuer, who says this about the person; return the last answer.

    ``document`` is what the issuer says of itself then.
    """
    claims = {"iss": issuer.url_for(""), "aud": "us", "exp": time.time() + 60, **about}
    parts = ({"alg": "HS256", "typ": "JWT"}, claims)
    encoded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    ]
    token = {"access_token": "t", "token_type": "Bearer", "id_token": ".".join([*encoded, "c2ln"])}
    issuer.expect_oneshot_request("/token").respond_with_json(token)
    issuer.expect_oneshot_request("/userinfo").respond_with_json(about)
    where = f"/accounts/oidc/sso/login/?process={process}"
    leads = post(browser, where, {}, follow_redirects=False)
    asked = parse_qs(urlsplit(leads.headers["Location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    if document:
        well_known = issuer.expect_oneshot_request("/.well-known/openid-configuration")
        well_known.respond_with_json(document)
    return browser.get(
        "/accounts/oidc/sso/login/callback/", params={"code": "c", "state": asked["state"][0]}
    )


def test_no_page_of_the_admin_without_a_second_factor_where_it_is_required(
    system: Any, browser: httpx.Client
) -> None:
    _, _, address = system
    assert browser.get("/admin/").url.path == "/accounts/login/"
    assert browser.post("/admin/login/", follow_redirects=False).status_code == 403  # no token
    assert log_in(browser, "ada").url.path == SETS_UP
    for path in ("/admin/", "/outbox/", "/admin/auth/user/", "/dashboard/live/"):
        assert browser.get(path).url.path == SETS_UP, path
    secret = set_up(browser)
    assert browser.get("/admin/").url.path == "/admin/"
    for path in CLOSED:
        assert browser.get(f"/accounts/{path}").status_code == 404, path
    # It stays, for who has it as for who holds a session.
    gone = post(browser, "/accounts/2fa/totp/deactivate/", {})
    assert browser.get("/admin/").url.path == "/admin/", gone.text
    with httpx.Client(base_url=address, follow_redirects=True) as another:
        assert log_in(another, "ada").url.path == ASKS
        assert another.get("/admin/").url.path == ASKS
        came = post(another, ASKS, {"code": code_of(secret)})
        assert came.url.path == "/admin/", came.text


def test_who_knows_the_password_cannot_try_code_after_code(
    system: Any, browser: httpx.Client
) -> None:
    processes, _, address = system
    log_in(browser, "ben")
    secret = set_up(browser)

    with httpx.Client(base_url=address, follow_redirects=True) as another:
        log_in(another, "ben")
        for _ in range(login_throttle.MOST_CODES):
            wrong = post(another, ASKS, {"code": "000000"})
            assert wrong.url.path == ASKS
        refused = post(another, ASKS, {"code": code_of(secret)})
    assert refused.url.path == ASKS
    assert "Too many" in refused.text
    with redis.Redis.from_url(settings.REDIS_URL) as shared:  # for all processes and addresses
        assert [*shared.scan_iter("*login:code:*")]
    # Who lost it sets up another.
    processes.run("reset", "python", "manage.py", "reset_login", "ben")
    with httpx.Client(base_url=address, follow_redirects=True) as another:
        assert log_in(another, "ben").url.path == SETS_UP


def test_the_issuer_lets_in_staff_by_their_verified_address_and_nobody_else(
    system: Any, browser: httpx.Client, issuer: HTTPServer
) -> None:
    _, web, address = system
    eve = {"sub": "1", "email": "EVE@example.org", "email_verified": True}
    strangers = (
        {"sub": "2", "email": "stranger@example.org", "email_verified": True},
        {"sub": "3", "email": "customer@example.org", "email_verified": True},  # no staff
        {"sub": "4", "email": "eve@example.org", "email_verified": False},
        {"sub": "5", "email": "eve@example.org", "email_verified": "false"},
        {"sub": "6"},
    )
    for about in strangers:
        with httpx.Client(base_url=address, follow_redirects=True) as another:
            assert by_issuer(another, issuer, about).status_code == 403, about
            assert another.get("/admin/").url.path == "/accounts/login/", about
    assert by_issuer(browser, issuer, eve).url.path == SETS_UP
    set_up(browser)
    assert "eve" in browser.get("/admin/").text
    # A person of the issuer is not tied to whoever is logged in here.
    tied = by_issuer(browser, issuer, strangers[0], process="connect")
    assert tied.status_code == 403
    # The second factor is asked for here, too; the subject counts from now on, not the address.
    with httpx.Client(base_url=address, follow_redirects=True) as another:
        came = by_issuer(another, issuer, {"sub": "1"})
        assert came.url.path == ASKS
    assert "a secret of ours" not in web.output()
    assert "eve@example.org" not in web.output().lower()


def test_a_document_of_the_issuer_leads_into_no_private_network(
    system: Any, browser: httpx.Client, issuer: HTTPServer
) -> None:
    _, web, _ = system
    connected: list[object] = []
    inside = Peer(connected.append).start()
    document = httpx.get(issuer.url_for("/.well-known/openid-configuration")).json()
    about = {"sub": "1", "email": "eve@example.org", "email_verified": True}
    try:
        for name in ("token_endpoint", "userinfo_endpoint"):
            leads = {**document, name: f"http://127.0.0.1:{inside.port}/"}  # it is localhost's own
            answer = by_issuer(browser, issuer, about, document=leads)
            assert answer.status_code == 503, answer.text
        assert connected == []
    finally:
        inside.stop()
    assert web.output().count("issuer_away") == 2
    assert browser.get("/admin/").url.path == "/accounts/login/"
    # What is no answer of an issuer is said, at the login as at the return from it.
    for answer in ({"status": 302, "headers": {"Location": "/x"}}, {"status": 500}, {}):
        well_known = issuer.expect_oneshot_request("/.well-known/openid-configuration")
        well_known.respond_with_data("<html>", **answer)
        assert post(browser, "/accounts/oidc/sso/login/", {}).status_code == 503


def test_an_issuer_that_answers_slowly_holds_a_page_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    from config.staff_login import issuer  # noqa: PLC0415 -- needs the extra sso

    monkeypatch.setattr(issuer, "SECONDS", 0.5)

    def drip(connection: Any) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        peers.drip(connection)

    for behaviour in (peers.hang, drip):
        slow = Peer(behaviour).start()
        settings.ADMIN_OIDC_ISSUER = f"http://localhost:{slow.port}"
        request = RequestFactory().get("/")
        try:
            for _ in range(2):  # the bound is of all requests together
                with pytest.raises(ImmediateHttpResponse) as refused:
                    issuer.Session(request).get(f"{settings.ADMIN_OIDC_ISSUER}/keys")
                assert refused.value.response.status_code == 503
            assert len(slow.connections) == 1
        finally:
            slow.stop()
    settings.ADMIN_OIDC_ISSUER = "https://localhost"
    with pytest.raises(ImmediateHttpResponse):  # our secret would be read on the way
        issuer.Session(RequestFactory().get("/")).post("http://localhost/token")


CLOSED = (
    *("signup/", "email/", "password/reset/", "password/change/", "password/set/"),
    *("confirm-email/", "3rdparty/", "3rdparty/signup/", "login/code/confirm/"),
)


def test_pages_by_which_people_would_make_accounts_or_addresses_are_closed(
    system: Any, browser: httpx.Client
) -> None:
    for path in CLOSED:
        assert browser.get(f"/accounts/{path}").status_code == 404, path
    policy = browser.get("/accounts/login/").headers["Content-Security-Policy"]
    assert "form-action 'self' http://localhost" in policy


def test_wrong_passwords_are_counted_on_this_page_too(system: Any, browser: httpx.Client) -> None:
    request = RequestFactory().get("/")
    by_name, _by_address = login_throttle._keys(request, "mia")
    with redis.Redis.from_url(settings.REDIS_URL) as shared:
        shared.set(key_of(by_name), login_throttle.MOST_OF_A_NAME)
    assert log_in(browser, "mia").status_code == 429
