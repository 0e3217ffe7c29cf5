"""Telegram, by its Bot API: https://core.telegram.org/bots/api#sendmessage."""

import re
from collections.abc import Mapping
from typing import Any

from notifications.channels.base import Content, Fit, Message
from notifications.channels.http import (
    HttpProvider,
    accepted,
    classify,
    json_object,
    too_long,
    wish,
)
from notifications.channels.http_client import Answer
from notifications.core.errors import (
    AccountRefused,
    InvalidRecipient,
    PermanentError,
    TransientError,
)

LONGEST_TEXT = 4096  # characters
# A chat's number (groups have negative ones), or a public channel's or group's name.
_OURS = re.compile(r"-?[0-9]{1,16}|@[A-Za-z][A-Za-z0-9_]{3,31}")
# Whichever bot writes to it. https://github.com/TelegramBotAPI/errors lists the descriptions.
_GONE = ("user is deactivated", "group is deactivated", "chat was deleted", "was upgraded to a")


class TelegramProvider(HttpProvider):
    """Writes to the person, group or channel that the recipient names, as plain text.

    Without a parse mode nothing in a text is markup, so no value needs to be escaped.
    """

    kind = "telegram"
    channels = ("chat",)
    setting_names = {"url": "The URL of the API.", "ca_file": "A certificate authority to trust."}
    secret_names = {"token": "A bot's token, 123456:ABC…"}
    optional = frozenset({"url", "ca_file"})

    @classmethod
    def takes(cls, recipient: str) -> Fit:
        return Fit.CERTAIN if _OURS.fullmatch(recipient) else Fit.NO

    @classmethod
    def refuses(cls, content: Content) -> str:
        return too_long(content.get("text", ""), LONGEST_TEXT, "Telegram")

    def send(self, message: Message) -> str:
        url = self.account.settings.get("url", "https://api.telegram.org").rstrip("/")
        answer = self.request(
            message,
            "POST",
            f"{url}/bot{self.account.secrets['token']}/sendMessage",
            json={"chat_id": message.recipient, "text": message.content.get("text", "")},
        )
        if answer.status >= 400:
            _refuse(answer)
        classify(answer)
        return accepted(answer, "result", "message_id")


def _refuse(answer: Answer) -> None:
    """Raise by Telegram's own words: https://core.telegram.org/bots/api#making-requests."""
    said = json_object(answer)
    description, code = str(said.get("description", ""))[:200], f"HTTP {answer.status}"
    if answer.status in (401, 404):  # a token that was revoked, one that never was
        raise AccountRefused("Telegram does not know the bot's token.", code=code)
    if answer.status == 429:
        raise TransientError(
            "Telegram refused the request for now.",
            code=code,
            retry_after=wish(_parameters(said).get("retry_after"), answer.headers),
        )
    if any(words in description for words in _GONE):
        raise InvalidRecipient(description, code=code)
    if answer.status == 403 or "chat not found" in description:
        # A block, or a chat that was never begun, is between the recipient and this bot.
        raise PermanentError(description or "Telegram refused.", code=code, elsewhere=True)
    classify(answer, description)


def _parameters(said: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = said.get("parameters")
    return parameters if isinstance(parameters, Mapping) else {}
