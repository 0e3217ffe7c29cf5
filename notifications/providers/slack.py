"""Slack, by its Web API: https://docs.slack.dev/reference/methods/chat.postMessage."""

import re
from typing import Any

from notifications.channels import options
from notifications.channels.base import Content, Fit, Message
from notifications.channels.http import HttpProvider, classify, json_object, too_long
from notifications.core.errors import AccountRefused, PermanentError, TransientError, UnknownOutcome
from templates_engine import slack_blocks

# They pass.
_TRANSIENT = {
    *("ratelimited", "rate_limited", "message_limit_exceeded", "service_unavailable"),
    *("request_timeout", "team_added_to_org"),
}
# The operator mends these.
_OF_ACCOUNT = {
    *("invalid_auth", "not_authed", "token_expired", "token_revoked", "account_inactive"),
    *("missing_scope", "access_denied", "not_allowed_token_type", "no_permission"),
    *("org_login_required", "ekm_access_denied", "team_access_not_granted"),
}
LONGEST_TEXT = 40_000  # characters; Slack cuts off what is longer
# A conversation's or a member's id, or a channel's name as people write it.
_OURS = re.compile(r"#\S+|[CDGUW][A-Z0-9]{7,}(:\d+\.\d+)?")
# A message, as its provider's id names it: a recipient of this form is its thread.
_THREAD = re.compile(r"(?P<channel>.+):(?P<thread_ts>\d+\.\d+)")
_UNKNOWN = {"internal_error", "fatal_error"}


class SlackProvider(HttpProvider):
    """Posts to the channel, person or thread (``C024BE91L:1503435956.000247``) of the recipient."""

    kind = "slack"
    channels = ("chat",)
    option_names = frozenset({"blocks"})
    setting_names = {"url": "The URL of the API.", "ca_file": "A certificate authority to trust."}
    secret_names = {"token": "A bot token, xoxb-…"}
    optional = frozenset({"url", "ca_file"})

    @classmethod
    def takes(cls, recipient: str) -> Fit:
        if _OURS.fullmatch(recipient):
            return Fit.CERTAIN
        return Fit.NO if "://" in recipient else Fit.POSSIBLE

    @classmethod
    def refuses(cls, content: Content) -> str:
        text = too_long(content.get("mrkdwn") or content.get("text", ""), LONGEST_TEXT, "Slack")
        blocks = _blocks(content)
        return text or (slack_blocks.problem(blocks) if blocks is not None else "")

    def send(self, message: Message) -> str:
        url = self.account.settings.get("url", "https://slack.com")
        # Values with Slack's control characters come escaped, so that they cannot be markup.
        text = message.content.get("mrkdwn") or message.content.get("text", "")
        answer = self.request(
            message,
            "POST",
            f"{url.rstrip('/')}/api/chat.postMessage",
            json={**_place(message.recipient), "text": text, **_blocks_of(message.content)},
            headers={"Authorization": f"Bearer {self.account.secrets['token']}"},
        )
        classify(answer)
        said = json_object(answer)
        if said.get("ok") is True:
            return f"{said.get('channel', message.recipient)}:{said.get('ts', '')}"
        raise _refusal(said.get("error"))


def _blocks(content: Content) -> Any:
    """Return the blocks that the caller gave, else those of the template, else None."""
    return options.of(content).get("blocks") or content.get("blocks")


def _blocks_of(content: Content) -> dict[str, Any]:
    # The text is then what a notification on a phone shows.
    blocks = _blocks(content)
    return {} if blocks is None else {"blocks": blocks}


def _place(recipient: str) -> dict[str, str]:
    match = _THREAD.fullmatch(recipient)
    return match.groupdict() if match else {"channel": recipient}


def _refusal(error: object) -> PermanentError | TransientError | UnknownOutcome:
    if not isinstance(error, str):
        return UnknownOutcome("The answer is not in Slack's format.", code="bad_answer")
    if error in _TRANSIENT:
        return TransientError("Slack refused the request for now.", code=error[:50])
    if error in _OF_ACCOUNT:
        return AccountRefused("Slack refused the account.", code=error[:50])
    if error in _UNKNOWN:
        return UnknownOutcome("Slack had an error.", code=error)
    return PermanentError("Slack refused.", code=error[:50], elsewhere=error == "channel_not_found")
