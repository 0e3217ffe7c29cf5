"""Push by Firebase Cloud Messaging, against a local server that speaks like the real one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from notifications.core.errors import InvalidRecipient
from tests.integration.notifications.providers.http_answers import R, answers, last

FCM_PATH = "/v1/projects/shop/messages:send"


def test_fcm_takes_a_message_with_its_time_to_live(
    fcm: Any, push: Callable[..., Any], token: None, httpserver: HTTPServer
) -> None:
    answers(httpserver, FCM_PATH, {"name": "projects/shop/messages/1"})
    expires = datetime.now(UTC) + timedelta(seconds=60)
    outcome = fcm.outcome_of(push(ttl=60))
    assert (outcome.result, outcome.provider_message_id) == (R.SENT, "projects/shop/messages/1")
    sent = last(httpserver).json["message"]
    assert sent["token"] == "device-token"
    assert sent["notification"] == {"title": "Hello", "body": "World"}
    assert sent["data"] == {"order": "7"}
    assert sent["android"] == {"ttl": "60s"}
    assert abs(int(sent["apns"]["headers"]["apns-expiration"]) - expires.timestamp()) < 30
    assert last(httpserver).headers["Authorization"] == "Bearer ya29"


def test_fcm_fetches_one_token_for_many_messages(
    fcm: Any, push: Callable[..., Any], token: None, httpserver: HTTPServer
) -> None:
    answers(httpserver, FCM_PATH, {"name": "projects/shop/messages/1"})
    outcomes = [outcome for _, outcome in fcm.send_many(push() for _ in range(20))]
    assert {outcome.result for outcome in outcomes} == {R.SENT}
    assert [request.path for request, _ in httpserver.log].count("/token") == 1


NO_TOKEN = "The registration token is not a valid FCM registration token"
DEAD = InvalidRecipient.reason


def fcm_error(status: str, code: Any = None, message: str = "") -> dict[Any, Any]:
    details = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}]
    return {"error": {"status": status, "message": message, "details": details if code else []}}


@pytest.mark.parametrize(
    ("status", "body", "expected", "code", "reason"),
    [
        (404, fcm_error("NOT_FOUND", "UNREGISTERED"), R.PERMANENT, "UNREGISTERED", DEAD),
        (
            400,
            fcm_error("INVALID_ARGUMENT", None, NO_TOKEN),
            R.PERMANENT,
            "INVALID_ARGUMENT",
            "invalid_recipient",
        ),
        (400, fcm_error("INVALID_ARGUMENT", None, "too big"), R.PERMANENT, "INVALID_ARGUMENT", ""),
        (401, fcm_error("UNAUTHENTICATED"), R.TRANSIENT, "UNAUTHENTICATED", ""),
        (429, fcm_error("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), R.TRANSIENT, "QUOTA_EXCEEDED", ""),
        (503, fcm_error("UNAVAILABLE"), R.TRANSIENT, "UNAVAILABLE", ""),
        (500, '{"error": "text"}', R.TRANSIENT, "HTTP 500", ""),
        (200, '["name"]', R.UNKNOWN, "bad_answer", ""),
    ],
)
def test_fcms_refusals_are_classed(
    fcm: Any,
    push: Callable[..., Any],
    token: None,
    httpserver: HTTPServer,
    status: int,
    body: Any,
    expected: Any,
    code: str,
    reason: Any,
) -> None:
    answers(httpserver, FCM_PATH, body, status)
    outcome = fcm.outcome_of(push())
    assert (outcome.result, outcome.code, outcome.reason) == (expected, code, reason)


def test_without_a_token_nothing_is_handed_over(
    fcm: Any, push: Callable[..., Any], httpserver: HTTPServer
) -> None:
    answers(httpserver, "/token", {"error": "invalid_grant"}, 400)
    outcome = fcm.outcome_of(push())
    assert (outcome.result, outcome.code) == (R.TRANSIENT, "RefreshError")
