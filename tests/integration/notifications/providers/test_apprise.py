"""Services by Apprise, against a local server that speaks like them."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from tests.integration.notifications.providers import peers
from tests.integration.notifications.providers.http_answers import R, answers, last


def test_apprise_notifies_the_service_of_its_url(
    provider: Callable[..., Any], message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    answers(httpserver, "/team/room-1", "")
    url = f"json://127.0.0.1:{httpserver.port}/team/{{recipient}}"
    apprise = provider("apprise", secrets={"url": url})
    outcome = apprise.outcome_of(message("chat", "room-1", content={"text": "Disk full"}))
    assert outcome.result is R.SENT
    assert last(httpserver).json["message"] == "Disk full"


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, R.PERMANENT), (401, R.TRANSIENT), (429, R.TRANSIENT), (500, R.TRANSIENT)],
)
def test_apprises_refusal_is_classed_by_its_services_answer(
    provider: Callable[..., Any],
    message: Callable[..., Any],
    httpserver: HTTPServer,
    status: int,
    expected: Any,
) -> None:
    answers(httpserver, "/", "", status)
    apprise = provider("apprise", secrets={"url": f"json://127.0.0.1:{httpserver.port}/"})
    outcome = apprise.outcome_of(message("chat", "room-1", content={"text": "Disk full"}))
    assert (outcome.result, outcome.code) == (expected, f"HTTP {status}")


@pytest.mark.timeout(60)
def test_apprise_is_given_up_on_when_the_message_has_no_more_time(
    provider: Callable[..., Any], message: Callable[..., Any], peer: Callable[..., Any]
) -> None:
    url = f"json://127.0.0.1:{peer(peers.drip).port}/"
    apprise = provider("apprise", secrets={"url": url})
    outcome = apprise.outcome_of(message("chat", "a", content={"text": "Hi"}, timeout=2.0))
    assert outcome.result is R.UNKNOWN


@pytest.mark.parametrize("url", ["syslog://", "dbus://", "file:///etc/passwd", "exec://x", "x"])
def test_apprise_refuses_what_is_not_on_its_list(provider: Callable[..., Any], url: str) -> None:
    with pytest.raises(ValueError, match="not among the schemas"):
        provider("apprise", secrets={"url": url})
