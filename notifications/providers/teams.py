"""Microsoft Teams, by the webhook of a workflow that posts Adaptive Cards.

https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook
"""

import json
import re
from typing import Any

from notifications.channels.base import Content, Message
from notifications.providers.incoming_webhook import IncomingWebhookProvider

# Bytes of a message: https://learn.microsoft.com/connectors/teams/#known-issues-and-limitations-with-actions
LARGEST_CARD = 28 * 1024
_SCHEMA = "http://adaptivecards.io/schemas/adaptive-card.json"


class TeamsProvider(IncomingWebhookProvider):
    """Posts a card to the channel or chat of a workflow."""

    kind = "teams"
    url_path = re.compile(
        r"https?://[^/?#]+/([^?#]*/)?workflows/[\w-]+/triggers/[\w-]+/paths/invoke(\?[^#]*)?"
    )

    @classmethod
    def refuses(cls, content: Content) -> str:
        size = len(json.dumps(card(content), ensure_ascii=False).encode())
        if size > LARGEST_CARD:
            return f"The card takes {size:,} bytes; Teams takes {LARGEST_CARD:,}."
        return ""

    def send(self, message: Message) -> str:
        answer = self.post(message, card(message.content))
        if answer.status in (401, 403, 404, 410):  # turned off, signed otherwise, deleted
            raise self.webhook_is_gone(message, answer)
        self.classify(message, answer)  # 202: the workflow has begun; it names no id
        return ""


def card(content: Content) -> dict[str, Any]:
    """Make the message: a card with a block for each line, as single line breaks are not shown."""
    text = str(content.get("markdown") or content.get("text", ""))
    body = [{"type": "TextBlock", "text": line, "wrap": True} for line in text.splitlines() if line]
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "$schema": _SCHEMA,
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": body,
                },
            }
        ],
    }
