"""Programs written for GOV.UK Notify: its own clients, unchanged, against our ``/v2/``."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from django.core.management import call_command
from django.test import Client
from notifications_python_client.errors import HTTPError
from notifications_python_client.notifications import NotificationsAPIClient
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from notifications.gateways.govuk import client_keys, documents, views
from notifications.models import ApiKey, Notification, Status
from notifications.operations import api_keys
from notifications.submission import send
from templates_engine import publishing
from templates_engine.models import Template
from tests.pages import examples

pytestmark = pytest.mark.django_db(transaction=True)

PARTS = {
    ("receipt", "email"): {
        "subject": "Receipt {{ number }}",
        "text": "Dear {{ first_name }}, thank you.",
        "html": "<p>Dear {{ first_name }}, thank you.</p>",
    },
    ("code", "sms"): {"text": "Your code is {{ code }}"},
}
PERSONAL = {"First name": "Ada", "NUMBER": 7}


@pytest.fixture(autouse=True)
def _templates(db: None) -> None:
    for (name, channel), parts in PARTS.items():
        template = Template.objects.create(name=name, channel=channel)
        publishing.publish(publishing.create_version(template, parts))


@pytest.fixture
def client_of(live_server: LiveServer) -> Callable[..., Any]:
    """Make a client of GOV.UK Notify with a key of its own."""

    def client_of(**options: Any) -> NotificationsAPIClient:
        row = api_keys.create("program", **options).row
        return NotificationsAPIClient(client_keys.of(row), base_url=live_server.url)

    return client_of


@pytest.fixture
def notify(client_of: Callable[..., Any]) -> Any:
    return client_of()


def refusal(call: Any) -> Any:
    """Return the status and the first error of a call that is refused."""
    with pytest.raises(HTTPError) as caught:
        call()
    response = caught.value.response
    assert response is not None
    (said,) = response.json()["errors"]
    return response.status_code, said["error"], said["message"]


def test_the_python_client_sends_and_follows_an_email(
    notify: Any, deliver: Callable[..., Any]
) -> None:
    made = notify.send_email_notification(
        email_address="ada@example.org",
        template_id="receipt",
        personalisation=PERSONAL,
        reference="order-7",
        email_reply_to_id="shop@example.org",
        one_click_unsubscribe_url="https://shop.example/stop",
    )
    assert made["content"]["subject"] == "Receipt 7"
    assert made["content"]["body"].strip() == "Dear Ada, thank you."
    assert made["content"]["one_click_unsubscribe_url"] == "https://shop.example/stop"
    assert made["template"]["version"] == 1
    seen = notify.get_notification_by_id(made["id"])
    assert (seen["status"], seen["email_address"]) == ("created", "ada@example.org")
    assert (seen["subject"], seen["completed_at"]) == ("Receipt 7", None)
    row = Notification.objects.get(id=made["id"])
    assert row.context == {"first_name": "Ada", "number": 7}
    assert row.mail is not None
    assert row.mail.fields["reply_to"] == ["shop@example.org"]
    deliver(row)
    assert notify.get_notification_by_id(made["id"])["status"] == "sent"


@pytest.mark.parametrize(
    "url",
    [
        *("http://shop.example/u", "https://shop.example/ü", "https://shop.example/a b"),
        *("https://shop.example/u>, <mailto:x@y.example", "shop.example", "https://", 7),
    ],
)
def test_a_link_to_unsubscribe_that_no_mail_program_could_use_is_refused(
    notify: Any, url: Any
) -> None:
    def call() -> None:
        notify.send_email_notification(
            "ada@example.org", "receipt", PERSONAL, one_click_unsubscribe_url=url
        )

    status, error, message = refusal(call)
    assert (status, error) == (400, "ValidationError")
    assert message == "one_click_unsubscribe_url is not a valid https url"
    assert Notification.objects.count() == 0


@pytest.mark.parametrize("number", ["07700 900123", "00447700900123", "+44 7700 900123"])
def test_the_python_client_sends_a_text_to_a_british_number(notify: Any, number: str) -> None:
    made = notify.send_sms_notification(number, "code", personalisation={"code": 4711})
    assert made["content"]["body"] == "Your code is 4711"
    assert Notification.objects.get(id=made["id"]).recipient == "+447700900123"


def test_a_british_number_that_lacks_a_digit_is_refused(notify: Any) -> None:
    status, *_ = refusal(lambda: notify.send_sms_notification("07700 90012", "code"))
    assert status == 400


def test_the_python_client_turns_the_pages_and_filters(
    notify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "PAGE", 2)
    ids = [
        notify.send_sms_notification(
            f"+44770090012{n}", "code", personalisation={"code": n}, reference=f"r{n % 2}"
        )["id"]
        for n in range(5)
    ]
    assert [notification["id"] for notification in notify.get_all_notifications_iterator()] == ids[
        ::-1
    ]
    Notification.objects.filter(id=ids[0]).update(status=Status.FAILED, reason="rejected")
    Notification.objects.filter(id=ids[1]).update(status=Status.FAILED, reason="render_error")

    def found(**filters: Any) -> list[Any]:
        return [
            notification["id"] for notification in notify.get_all_notifications_iterator(**filters)
        ]

    assert found(status="permanent-failure") == [ids[0]]
    assert found(status="technical-failure") == [ids[1]]
    assert found(status="failed") == [ids[1], ids[0]]
    assert found(reference="r1", template_type="sms") == [ids[3], ids[1]]
    assert found(template_type="email") == []
    assert refusal(lambda: notify.get_all_notifications(status="lost"))[0] == 400
    assert refusal(lambda: notify.get_all_notifications(template_type="foo"))[0] == 400
    assert refusal(lambda: notify.get_all_templates(template_type="foo"))[0] == 400


@pytest.mark.parametrize("status", Status)
def test_each_status_has_one_word_which_finds_it_again(db: None, status: Any) -> None:
    for reason in ("", "rejected", "attempts_exhausted", "error_in_send", "cancelled"):
        row = send(channel="sms", recipient="+447700900123", body="x")
        Notification.objects.filter(id=row.id).update(status=status, reason=reason)
        row.refresh_from_db()
        words = [
            word
            for word in documents.WORDS
            if Notification.objects.filter(documents.with_status(word), id=row.id).exists()
        ]
        assert words == [documents.status_of(row)]


def test_the_python_client_reads_and_previews_templates(notify: Any) -> None:
    template = notify.get_template("receipt")
    assert template["body"] == "Dear ((first_name)), thank you."
    assert template["personalisation"]["first_name"] == {"required": True}
    assert notify.get_template_version("receipt", 1) == template
    names = [each["name"] for each in notify.get_all_templates()["templates"]]
    assert names == ["code", "receipt"]
    assert [t["id"] for t in notify.get_all_templates("sms")["templates"]] == ["code"]
    shown = notify.post_template_preview("receipt", PERSONAL)
    assert (shown["subject"], shown["type"]) == ("Receipt 7", "email")
    assert list(notify.get_received_texts_iterator()) == []


@pytest.mark.parametrize(
    ("address", "given", "message"),
    [
        ("ada@example.org", {}, "Missing personalisation: first_name, number"),
        ("ada@example.org", PERSONAL | {"number": {"file": "x"}}, "a file cannot be sent"),
        ("ada", PERSONAL, "recipient"),
    ],
)
def test_a_refusal_is_in_the_words_of_its_clients(
    notify: Any, address: str, given: Any, message: str
) -> None:
    status, _, said = refusal(
        lambda: notify.send_email_notification(address, "receipt", personalisation=given)
    )
    assert status == 400
    assert message in said
    assert not Notification.objects.exists()


def test_what_is_not_here_is_refused(notify: Any) -> None:
    assert refusal(lambda: notify.send_email_notification("a@b.example", "nothing")) == (
        *(400, "BadRequestError", "Template not found"),
    )
    said = refusal(lambda: notify.send_sms_notification("+447700900123", "receipt"))[2]
    assert said == "email template is not suitable for sms notification"
    assert refusal(lambda: notify.send_letter_notification("receipt", {}))[0] == 400
    assert refusal(lambda: notify.get_notification_by_id(uuid4()))[:2] == (404, "NoResultFound")
    assert refusal(lambda: notify.get_notification_by_id("nothing"))[0] == 404
    assert refusal(lambda: notify.get_template("nothing"))[0] == 404
    assert refusal(lambda: notify.post("/v2/notifications/email", [1]))[0] == 400
    assert refusal(lambda: notify.get("/v2/notifications/email"))[0] == 405


CALLS = {
    "send_email": lambda c: c.send_email_notification("ada@example.org", "receipt", PERSONAL),
    "send_sms": lambda c: c.send_sms_notification("+447700900123", "code", {"code": 1}),
    "send_letter": lambda c: c.send_letter_notification("receipt", {}),
    "get_notification": lambda c: c.get_notification_by_id(uuid4()),
    "list_notifications": lambda c: c.get_all_notifications(),
    "get_template": lambda c: c.get_template("receipt"),
    "list_templates": lambda c: c.get_all_templates(),
    "preview_template": lambda c: c.post_template_preview("receipt", PERSONAL),
    "list_received_texts": lambda c: c.get_received_texts(),
}


def answer_of(call: Any, client: Any) -> int:
    try:
        call(client)
    except HTTPError as error:
        return error.status_code
    return 200


def test_each_operation_asks_for_its_scope(client_of: Callable[..., Any]) -> None:
    assert views.OPERATIONS.keys() == CALLS.keys()
    for scope in ApiKey.Scope:
        client = client_of(scopes=[scope])
        for name, call in CALLS.items():
            may = views.OPERATIONS[name][1] == scope
            assert (answer_of(call, client) == 403) is not may, (scope, name)


def test_a_key_that_is_not_one_reaches_nothing(
    client_of: Callable[..., Any], live_server: LiveServer, settings: Settings
) -> None:
    row = api_keys.create("ended").row
    client = NotificationsAPIClient(client_keys.of(row), base_url=live_server.url)
    assert answer_of(CALLS["list_templates"], client) == 200
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 10
    assert answer_of(CALLS["list_templates"], client) == 200
    settings.SECRET_KEY_FALLBACKS = []
    wrong = [
        client,
        NotificationsAPIClient(f"live-{uuid4()}-{uuid4()}", base_url=live_server.url),
        NotificationsAPIClient(f"live-{'x' * 36}-{uuid4()}", base_url=live_server.url),
    ]
    assert [answer_of(CALLS["list_templates"], arguments) for arguments in wrong] == [403, 403, 403]
    settings.SECRET_KEY_FALLBACKS = ["another" * 10]
    api_keys.revoke(row)
    assert answer_of(CALLS["list_templates"], client) == 403


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iat": -120}, "system clock"),
        ({"iat": 120}, "system clock"),
        ({}, "iat field not provided"),
        ({"iat": float("nan")}, "system clock"),
        ({"iat": "soon"}, "iat field not provided"),
    ],
)
def test_a_token_is_of_now(client: Client, claims: dict[str, Any], said: str) -> None:
    row = api_keys.create("program").row
    _, _, rest = client_keys.of(row).partition("-")
    service, secret = rest[:36], rest[37:]
    sent = {"iss": service, **claims}
    if isinstance(sent.get("iat"), int):
        sent["iat"] += int(time.time())
    for algorithm, key in (("HS256", secret), ("none", ""), ("HS384", secret * 2)):
        token = jwt.encode(sent, key, algorithm=algorithm)
        answer = client.get(
            "/v2/templates",
            headers={"Authorization": f"Bearer {token}"},
            REMOTE_ADDR=f"fd00::{secrets.token_hex(2)}:{secrets.token_hex(2)}",
        )
        assert answer.status_code == 403
        message = answer.json()["errors"][0]["message"]
        assert (said if algorithm == "HS256" else "API key not found") in message


def test_a_body_is_json_in_utf_8_with_one_member_of_a_name(client: Client) -> None:
    row = api_keys.create("program").row
    _, _, rest = client_keys.of(row).partition("-")
    token = jwt.encode({"iss": rest[:36], "iat": int(time.time())}, rest[37:], algorithm="HS256")
    for body, type_, said in (
        ('{"template_id": "code", "template_id": "receipt"}', "application/json", "Invalid JSON"),
        ("{}", "application/json; charset=latin1", "JSON is in UTF-8 alone."),
    ):
        headers = {"Authorization": f"Bearer {token}"}
        answer = client.post("/v2/notifications/sms", body, type_, headers=headers)
        assert answer.status_code == 400
        assert said in answer.json()["errors"][0]["message"]


def test_a_project_and_its_tests_see_their_own(client_of: Callable[..., Any]) -> None:
    call_command("create_project", "other")
    live, test, other = client_of(), client_of(kind=ApiKey.Kind.TEST), client_of(project="other")
    id_ = live.send_sms_notification("+447700900123", "code", {"code": 1})["id"]
    for stranger in (test, other):
        assert refusal(lambda: stranger.get_notification_by_id(id_))[0] == 404  # noqa: B023 -- at once
    assert refusal(lambda: other.get_template("code"))[0] == 404
    assert other.get_all_notifications(older_than=id_)["notifications"] == []
    tried = test.send_sms_notification("+447700900123", "code", {"code": 2})["id"]
    assert Notification.objects.get(id=tried).test
    assert [n["id"] for n in test.get_all_notifications()["notifications"]] == [tried]


def test_a_key_is_printed_for_the_clients_and_the_line_of_readme(
    capsys: pytest.CaptureFixture[str], live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_command("create_api_key", "legacy", "--govuk")
    monkeypatch.setenv("NOTIFY_KEY", capsys.readouterr().out.strip())
    monkeypatch.setenv("NOTIFY_URL", live_server.url)
    (line,) = examples("../README.md", "govuk")
    program: dict[str, Any] = {"os": os, "NotificationsAPIClient": NotificationsAPIClient}
    exec(line, program)
    client = program["client"]
    assert client.get_all_templates()["templates"]


def test_the_page_leads_to_an_email(
    live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASE", live_server.url)
    monkeypatch.setenv("GOVUK_KEY", client_keys.of(api_keys.create("page").row))
    for kind in ("shell", "python"):
        for code in examples("govuk-notify.md", kind):
            exec(code, {})
    row = Notification.objects.get(template_version__template__name="welcome")
    assert (row.recipient, row.context) == ("ada@example.org", {"first_name": "Ada"})


NODE = """
const {NotifyClient} = require('notifications-node-client');
const client = new NotifyClient(process.argv[1], process.argv[2]);
(async () => {
  const made = await client.sendEmail('receipt', 'ada@example.org',
    {personalisation: {first_name: 'Ada', number: 7}, reference: 'node'});
  const seen = await client.getNotificationById(made.data.id);
  const text = await client.sendSms('code', '+447700900123', {personalisation: {code: '1'}});
  const all = await client.getNotifications('email');
  const shown = await client.previewTemplateById('receipt', {first_name: 'Ada', number: 7});
  let refused;
  try { await client.sendEmail('receipt', 'ada@example.org'); }
  catch (error) { refused = error.response.data.errors[0].message; }
  console.log(JSON.stringify({id: seen.data.id, text: text.data.content.body,
    count: all.data.notifications.length, subject: shown.data.subject, refused}));
})().catch(error => { console.error(error); process.exit(1); });
"""


def test_the_node_client_works_unchanged(
    live_server: LiveServer, npm_install: Callable[..., Path]
) -> None:
    folder = npm_install("notifications-node-client@8")
    row = api_keys.create("node").row
    run = subprocess.run(
        ["node", "-e", NODE, live_server.url, client_keys.of(row)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert Notification.objects.get(id=said["id"]).reference == "node"
    assert (said["count"], said["subject"]) == (1, "Receipt 7")
    assert said["text"] == "Your code is 1"
    (page,) = examples("govuk-notify.md", "node")
    (shell,) = examples("govuk-notify.md", "shell")
    exec(shell, {})
    env = os.environ | {"BASE": live_server.url, "GOVUK_KEY": client_keys.of(row)}
    subprocess.run(["node", "-e", page], cwd=folder, env=env, check=True, timeout=60)
    assert Notification.objects.get(template_version__template__name="login-code").channel == "sms"
    assert said["refused"] == "Missing personalisation: first_name, number"
