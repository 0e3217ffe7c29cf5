"""Telegram, Discord and Teams, each against a local server that answers like the real one."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings
from pytest_httpserver import HTTPServer

from notifications.channels.base import Fit
from notifications.channels.kinds import fit
from notifications.core.attempt import Result
from notifications.core.errors import InvalidRecipient
from tests.integration.notifications.providers.http_answers import answers, last
from tests.unit.templates_engine.content import version

R = Result
DEAD = InvalidRecipient.reason


DISCORD = "https://discord.com/api/webhooks/1/abc-D_9"
TEAMS = "https://x.logic.azure.com:443/workflows/ab9/triggers/manual/paths/invoke?sig=s"
NO, POSSIBLE, CERTAIN = Fit


@pytest.mark.parametrize(
    ("recipient", "telegram", "discord", "teams", "slack"),
    [
        ("123456789", CERTAIN, POSSIBLE, POSSIBLE, POSSIBLE),
        ("-1001234567890", CERTAIN, POSSIBLE, POSSIBLE, POSSIBLE),
        ("@shop_news", CERTAIN, POSSIBLE, POSSIBLE, POSSIBLE),
        ("#alerts", NO, POSSIBLE, POSSIBLE, CERTAIN),
        ("@ada:matrix.example", NO, POSSIBLE, POSSIBLE, POSSIBLE),
        ("١٢٣", NO, POSSIBLE, POSSIBLE, POSSIBLE),
        (DISCORD, NO, CERTAIN, NO, NO),
        (DISCORD.replace("api", "api/v10") + "?thread_id=9", NO, CERTAIN, NO, NO),
        (TEAMS, NO, NO, CERTAIN, NO),
        (TEAMS.replace("/workflows", "/powerautomate/x/workflows"), NO, NO, CERTAIN, NO),
        ("https://me:pw@discord.com/api/webhooks/1/abc", NO, NO, NO, NO),
        ("https:///api/webhooks/1/abc", NO, NO, NO, NO),
        ("https://example.org/hook", NO, NO, NO, NO),
    ],
)
def test_a_chat_recipient_goes_to_the_service_whose_form_it_has(
    recipient: Any, telegram: Any, discord: Any, teams: Any, slack: Any
) -> None:
    fits = [fit(kind, recipient) for kind in ("telegram", "discord", "teams", "slack")]
    assert fits == [telegram, discord, teams, slack]


# --- Telegram -----------------------------------------------------------------------------

TELEGRAM_PATH = "/bot123:ABC/sendMessage"


@pytest.fixture
def telegram(provider: Callable[..., Any], httpserver: HTTPServer) -> Any:
    return provider(
        "telegram", settings={"url": httpserver.url_for("")}, secrets={"token": "123:ABC"}
    )


def refused(code: Any, description: Any, **parameters: Any) -> dict[Any, Any] | dict[str, Any]:
    said = {"ok": False, "error_code": code, "description": description}
    return {**said, "parameters": parameters} if parameters else said


def test_telegram_takes_a_text_in_which_no_value_is_markup(
    telegram: Any, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    answers(httpserver, TELEGRAM_PATH, {"ok": True, "result": {"message_id": 42, "chat": {}}})
    content = version("chat", text="Hi {{ name }} & all").render({"name": "<b>*Eve*</b>"})
    outcome = telegram.outcome_of(message("chat", "-1001234567890", content=content))
    assert (outcome.result, outcome.provider_message_id) == (R.SENT, "42")
    assert last(httpserver).json == {"chat_id": "-1001234567890", "text": "Hi <b>*Eve*</b> & all"}


@pytest.mark.parametrize(
    ("body", "expected", "reason", "elsewhere", "wait"),
    [
        (refused(401, "Unauthorized"), R.TRANSIENT, "", False, None),
        (refused(404, "Not Found"), R.TRANSIENT, "", False, None),
        (refused(403, "Forbidden: bot was blocked by the user"), R.PERMANENT, "", True, None),
        (refused(403, "Forbidden: user is deactivated"), R.PERMANENT, DEAD, False, None),
        (refused(400, "Bad Request: chat not found"), R.PERMANENT, "", True, None),
        (
            refused(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                migrate_to_chat_id=-1001,
            ),
            *(R.PERMANENT, DEAD, False, None),
        ),
        (refused(400, "Bad Request: message is too long"), R.PERMANENT, "", False, None),
        (
            refused(429, "Too Many Requests: retry after 34", retry_after=34),
            *(R.TRANSIENT, "", False, 34.0),
        ),
        (refused(429, "Too Many Requests", retry_after="soon"), R.TRANSIENT, "", False, None),
        (refused(500, "Internal Server Error"), R.TRANSIENT, "", False, None),
    ],
)
def test_telegrams_refusals_are_classed_by_whom_they_concern(
    telegram: Any,
    message: Callable[..., Any],
    httpserver: HTTPServer,
    body: Any,
    expected: Any,
    reason: Any,
    elsewhere: Any,
    wait: Any,
) -> None:
    answers(httpserver, TELEGRAM_PATH, body, body["error_code"])
    outcome = telegram.outcome_of(message("chat", "1234", content={"text": "Hi"}))
    assert (outcome.result, outcome.reason, outcome.elsewhere) == (expected, reason, elsewhere)
    assert (outcome.code, outcome.retry_after) == (f"HTTP {body['error_code']}", wait)
    assert "ABC" not in outcome.detail


# --- Discord and Teams --------------------------------------------------------------------

DISCORD_PATH = "/api/webhooks/1/abc"
TEAMS_PATH = "/workflows/ab9/triggers/manual/paths/invoke"
PATHS = {"discord": DISCORD_PATH, "teams": TEAMS_PATH}
EVE = "[Sign in](https://evil.example) @everyone \\[x](y)"
ESCAPED = "\\[Sign in\\](https://evil.example) @everyone \\\\\\[x\\](y)"


@pytest.fixture
def chat_with(provider: Callable[..., Any], settings: Settings) -> Callable[..., Any]:
    """Make an account of a kind; its URL is optional."""
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = True

    def make(kind: str, **secrets: Any) -> Any:
        return provider(kind, secrets=secrets)

    return make


@pytest.fixture
def discord(chat_with: Callable[..., Any]) -> Any:
    return chat_with("discord")


@pytest.fixture
def teams(chat_with: Callable[..., Any]) -> Any:
    return chat_with("teams")


def test_discord_takes_a_text_whose_values_ping_nobody_and_link_nowhere(
    discord: Any, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    answers(httpserver, DISCORD_PATH, {"id": "99", "channel_id": "5"})
    content = version("chat", text="*Hi* [all](https://x.example) {{ name }}").render({"name": EVE})
    url = httpserver.url_for(DISCORD_PATH) + "?thread_id=9"
    outcome = discord.outcome_of(message("chat", url, content=content))
    assert (outcome.result, outcome.provider_message_id) == (R.SENT, "99")
    assert last(httpserver).json == {
        "content": f"*Hi* [all](https://x.example) {ESCAPED}",
        "allowed_mentions": {"parse": []},
    }
    assert last(httpserver).args.to_dict() == {"thread_id": "9", "wait": "true"}


def test_teams_takes_a_card_whose_values_link_nowhere(
    teams: Any, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    answers(httpserver, TEAMS_PATH, "", 202)
    content = version("chat", text="**Hi** {{ name }}\n\nBye").render({"name": EVE})
    url = httpserver.url_for(TEAMS_PATH) + "?sig=s"
    assert teams.outcome_of(message("chat", url, content=content)).result is R.SENT
    [attached] = last(httpserver).json["attachments"]
    assert attached["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert [block["text"] for block in attached["content"]["body"]] == [f"**Hi** {ESCAPED}", "Bye"]
    assert last(httpserver).args.to_dict() == {"sig": "s"}


@pytest.mark.parametrize("kind", PATHS)
def test_a_recipient_that_is_no_url_is_put_into_the_accounts(
    chat_with: Callable[..., Any], message: Callable[..., Any], httpserver: HTTPServer, kind: str
) -> None:
    answers(httpserver, PATHS[kind], {"id": "99"})
    given = chat_with(kind, url=httpserver.url_for(PATHS[kind]) + "?thread_id={recipient}")
    assert given.outcome_of(message("chat", "a&b", content={"text": "Hi"})).result is R.SENT
    assert last(httpserver).args["thread_id"] == "a&b"


@pytest.mark.parametrize("kind", PATHS)
def test_a_redirect_is_laid_on_whose_url_it_was(
    chat_with: Callable[..., Any], message: Callable[..., Any], httpserver: HTTPServer, kind: str
) -> None:
    answers(httpserver, PATHS[kind], "", 302)
    given = chat_with(kind, url=httpserver.url_for(PATHS[kind]))
    for recipient, is_recipients in ((httpserver.url_for(PATHS[kind]), True), ("general", False)):
        outcome = given.outcome_of(message("chat", recipient, content={"text": "Hi"}))
        assert (outcome.result, outcome.local) == (R.TRANSIENT, is_recipients)
        assert "redirects are not followed" in outcome.detail


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("recipient", ["general", "https://example.org/hook"])
def test_without_a_webhook_another_account_is_asked(
    chat_with: Callable[..., Any], message: Callable[..., Any], kind: str, recipient: str
) -> None:
    outcome = chat_with(kind).outcome_of(message("chat", recipient, content={"text": "Hi"}))
    assert (outcome.result, outcome.elsewhere, outcome.reason) == (R.PERMANENT, True, "")


@pytest.mark.parametrize("kind", PATHS)
def test_a_webhook_into_the_private_network_is_refused(
    chat_with: Callable[..., Any],
    provider: Callable[..., Any],
    message: Callable[..., Any],
    httpserver: HTTPServer,
    settings: Settings,
    kind: str,
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES = False
    url = httpserver.url_for(PATHS[kind])
    outcome = provider(kind).outcome_of(message("chat", url, content={"text": "Hi"}))
    assert (outcome.result, outcome.code) == (R.PERMANENT, "private_address")
    assert httpserver.log == []


GONE = {"message": "Unknown Webhook", "code": 10015}
FORGED = {"message": "Invalid Webhook Token", "code": 50027}
LONG = {"message": "Invalid Form Body", "code": 50035, "errors": {}}
NO_THREAD = {"message": "Unknown Channel", "code": 10003}
SLOW = {"message": "You are being rate limited.", "retry_after": 0.75, "global": False}


@pytest.mark.parametrize(
    ("kind", "status", "body", "expected", "reason", "wait"),
    [
        ("discord", 404, GONE, R.PERMANENT, DEAD, None),
        ("discord", 401, FORGED, R.PERMANENT, DEAD, None),
        ("discord", 404, NO_THREAD, R.PERMANENT, "", None),
        ("discord", 404, "<html>a proxy</html>", R.PERMANENT, "", None),
        ("discord", 400, LONG, R.PERMANENT, "", None),
        ("discord", 429, SLOW, R.TRANSIENT, "", 0.75),
        ("discord", 429, "error code: 1015", R.TRANSIENT, "", 7.0),
        ("discord", 204, "", R.UNKNOWN, "", None),
        ("discord", 502, "", R.TRANSIENT, "", 7.0),
        ("teams", 404, {"error": {"code": "WorkflowNotFound"}}, R.PERMANENT, DEAD, None),
        ("teams", 401, {"error": {"code": "AuthorizationFailed"}}, R.PERMANENT, DEAD, None),
        ("teams", 413, "", R.PERMANENT, "", None),
        ("teams", 429, "", R.TRANSIENT, "", 7.0),
        ("teams", 502, "", R.TRANSIENT, "", 7.0),
    ],
)
def test_a_webhooks_refusals_are_classed_by_whom_they_concern(
    chat_with: Callable[..., Any],
    message: Callable[..., Any],
    httpserver: HTTPServer,
    kind: str,
    status: int,
    body: Any,
    expected: Any,
    reason: Any,
    wait: float | None,
) -> None:
    answers(httpserver, PATHS[kind], body, status, {"Retry-After": "7"})
    url = httpserver.url_for(PATHS[kind])
    outcome = chat_with(kind).outcome_of(message("chat", url, content={"text": "Hi"}))
    assert (outcome.result, outcome.reason, outcome.retry_after) == (expected, reason, wait)
    assert "127.0.0.1" not in outcome.detail


@pytest.mark.parametrize(("kind", "body"), [("discord", GONE), ("teams", "")])
def test_the_accounts_own_webhook_that_is_gone_is_the_accounts_trouble(
    chat_with: Callable[..., Any],
    message: Callable[..., Any],
    httpserver: HTTPServer,
    kind: str,
    body: Any,
) -> None:
    answers(httpserver, PATHS[kind], body, 404)
    given = chat_with(kind, url=httpserver.url_for(PATHS[kind]))
    outcome = given.outcome_of(message("chat", "ops", content={"text": "Hi"}))
    assert (outcome.result, outcome.local) == (R.TRANSIENT, False)


def test_only_the_limit_of_one_webhook_leaves_the_account_well(
    discord: Any, message: Callable[..., Any], httpserver: HTTPServer
) -> None:
    url = httpserver.url_for(DISCORD_PATH)
    for limit, local in ((SLOW, True), ({**SLOW, "global": True}, False)):
        httpserver.clear()
        answers(httpserver, DISCORD_PATH, limit, 429)
        assert discord.outcome_of(message("chat", url, content={"text": "Hi"})).local is local


# --- All ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text"), [("telegram", "x" * 4097), ("discord", "x" * 2001), ("teams", "ü" * 14_300)]
)
def test_what_a_chat_service_cannot_take_is_permanent_before_any_call(
    request: pytest.FixtureRequest,
    message: Callable[..., Any],
    httpserver: HTTPServer,
    kind: str,
    text: str,
) -> None:
    outcome = request.getfixturevalue(kind).outcome_of(
        message("chat", "1234", content={"text": text})
    )
    assert (outcome.result, outcome.code, outcome.elsewhere) == (R.PERMANENT, "content", True)
    assert httpserver.log == []
