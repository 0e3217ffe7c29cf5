"""Slack, by its Web API: https://docs.slack.dev/reference/methods/chat.postMessage."""

from notifications.channels.base import Message
from notifications.channels.http import HttpProvider, classify, json_object
from notifications.errors import PermanentError, TransientError, UnknownOutcome

# The operator mends these, or they pass.
_TRANSIENT = {
    *("ratelimited", "rate_limited", "message_limit_exceeded", "service_unavailable"),
    *("invalid_auth", "not_authed", "token_expired", "token_revoked", "account_inactive"),
    *("missing_scope", "request_timeout", "team_added_to_org", "access_denied"),
}
_UNKNOWN = {"internal_error", "fatal_error"}


class SlackProvider(HttpProvider):
    """Posts to the channel or person that the recipient names."""

    kind = "slack"
    channels = ("chat",)
    setting_names = {"url": "Where the API is.", "ca_file": "A certificate authority to trust."}
    secret_names = {"token": "A bot token, xoxb-…"}
    optional = frozenset({"url", "ca_file"})

    def send(self, message: Message) -> str:
        url = self.account.settings.get("url", "https://slack.com")
        answer = self.request(
            message,
            "POST",
            f"{url.rstrip('/')}/api/chat.postMessage",
            json={"channel": message.recipient, "text": message.content.get("text", "")},
            headers={"Authorization": f"Bearer {self.account.secrets['token']}"},
        )
        classify(answer)
        said = json_object(answer)
        if said.get("ok") is True:
            return f"{said.get('channel', message.recipient)}:{said.get('ts', '')}"
        raise _refusal(said.get("error"))


def _refusal(error: object) -> PermanentError | TransientError | UnknownOutcome:
    if not isinstance(error, str):
        return UnknownOutcome("The answer is not Slack's.", code="bad_answer")
    if error in _TRANSIENT:
        return TransientError("Slack refused for now.", code=error[:50])
    if error in _UNKNOWN:
        return UnknownOutcome("Slack had an error.", code=error)
    return PermanentError("Slack refused.", code=error[:50])
