"""The logs of the real processes: JSON, one id throughout, and nobody's words or address."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from notifications.models import Notification, Status
from notifications.operations import api_keys
from tests.servers.processes import Processes
from tests.servers.smtp import SmtpServer

RECIPIENT = "ada.lovelace@example.org"
SECRET = "the code is 4711"


def lines(process: Any) -> list[Any]:
    found = []
    for line in process.output().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # the banners of granian and Celery
    return found


def test_one_id_leads_from_the_request_to_the_provider_and_no_secret_is_told(
    processes: Processes, smtp_server: SmtpServer, wait_until: Callable[..., Any]
) -> None:
    env = {"LOG_STYLE": "json", "EMAIL_URL": smtp_server.url}
    smtp_server.answer(RECIPIENT, [f"550 5.1.1 no such user {RECIPIENT}"], at="RCPT")
    web, address = processes.web(**env)
    worker = processes.worker(**env)
    token = api_keys.create("test").token
    body = {"channel": "email", "recipient": RECIPIENT, "subject": SECRET, "body": SECRET}
    request = urllib.request.Request(
        f"{address}/api/v1/notifications",
        json.dumps(body).encode(),
        {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "X-Request-ID": "order-7",
        },
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        id_ = json.loads(response.read())["id"]
    wait_until(lambda: Notification.objects.filter(status=Status.FAILED).exists())

    for path, host in (("/nothing/here", ""), ("/static/nothing", ""), ("/healthz/live", "a..b")):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(
                urllib.request.Request(address + path, headers=(host and {"Host": host}) or {}),
                timeout=20,
            )
        assert 400 <= refusal.value.code < 500
    for line in (*lines(web), *lines(worker)):
        assert line["level"] in {"info", "warning"}, line
    for process in (web, worker):
        assert "Traceback" not in process.output()

    calls = [line for line in lines(web) if line.get("event") == "api_call"]
    assert [call["request_id"] for call in calls] == ["order-7"]
    (call,) = [line for line in lines(worker) if line.get("event") == "provider_call"]
    assert (call["request_id"], call["notification"]) == ("order-7", id_)
    assert (call["result"], call["code"]) == ("permanent", "550")
    for process in (web, worker):
        output = process.output()
        for secret in (RECIPIENT, SECRET, token):
            assert secret not in output
        assert {"level", "timestamp", "event"} <= lines(process)[-1].keys()
