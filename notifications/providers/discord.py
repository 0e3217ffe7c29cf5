"""Discord, by its webhooks: https://docs.discord.com/developers/resources/webhook#execute-webhook."""

import re

from notifications.channels.base import Content, Message
from notifications.channels.http import accepted, json_object, too_long, wish
from notifications.channels.http_client import Answer
from notifications.core.errors import TransientError
from notifications.providers.incoming_webhook import IncomingWebhookProvider

LONGEST_TEXT = 2000  # characters
# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
_NO_WEBHOOK = {10015, 50027}  # unknown webhook, invalid webhook token


class DiscordProvider(IncomingWebhookProvider):
    """Posts to the channel of a webhook. Nobody is pinged, whatever a value holds."""

    kind = "discord"
    url_path = re.compile(r"https?://[^/?#]+/api(/v\d+)?/webhooks/\d+/[\w-]+/?(\?[^#]*)?")

    @classmethod
    def refuses(cls, content: Content) -> str:
        return too_long(_text(content), LONGEST_TEXT, "Discord")

    def send(self, message: Message) -> str:
        payload = {"content": _text(message.content), "allowed_mentions": {"parse": []}}
        # Without waiting, a message that was not saved is not an error.
        answer = self.post(message, payload, "wait=true")
        if answer.status in (401, 404) and json_object(answer).get("code") in _NO_WEBHOOK:
            raise self.webhook_is_gone(message, answer)
        if answer.status == 429:
            raise _limited(answer)
        self.classify(message, answer)
        return accepted(answer, "id")


def _text(content: Content) -> str:
    """Return the text, with what could be a link in a value escaped."""
    return str(content.get("markdown") or content.get("text", ""))


def _limited(answer: Answer) -> TransientError:
    """Make the error of a limit: https://docs.discord.com/developers/topics/rate-limits."""
    said = json_object(answer)
    error = TransientError(
        "Discord refused the request for now.",
        code="HTTP 429",
        retry_after=wish(said.get("retry_after"), answer.headers),
    )
    # Each webhook has a limit of its own, beside the global one.
    error.local = said.get("global") is False
    return error
