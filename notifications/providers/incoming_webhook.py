"""What chat services whose incoming webhooks we post to have in common."""

import re
from typing import Any, ClassVar
from urllib.parse import quote

from notifications.channels import recipients
from notifications.channels.base import Fit, Message
from notifications.channels.http import HttpProvider, classify
from notifications.channels.http_client import Answer, HttpClient
from notifications.channels.outgoing import Reach
from notifications.core.errors import (
    AccountRefused,
    InvalidRecipient,
    MalformedRecipient,
    PermanentError,
)


class IncomingWebhookProvider(HttpProvider):
    """Posts to the recipient's URL, or to the account's for a recipient that is not a URL.

    Such a URL is a secret. ``url_path`` is the form of the service's URLs, by which a
    recipient is known as one of its own, whichever host it names.
    """

    channels = ("chat",)
    secret_names = {"url": "A webhook's URL; {recipient} in it stands for the recipient."}
    optional = frozenset({"url"})
    url_path: ClassVar[re.Pattern[str]]

    @classmethod
    def takes(cls, recipient: str) -> Fit:
        if not _is_url(recipient):
            return Fit.POSSIBLE
        try:
            recipients.url(recipient)
        except MalformedRecipient:
            return Fit.NO
        return Fit.CERTAIN if cls.url_path.fullmatch(recipient) else Fit.NO

    @classmethod
    def secret_problem(cls, name: str, value: str) -> str:
        try:
            recipients.url(value.replace("{recipient}", "x"))
        except MalformedRecipient:
            return "It must be an https URL."
        return ""

    def make_client(self) -> HttpClient:
        # Customers choose recipients, so a URL must not lead into our own network.
        return HttpClient(reach=Reach.RECIPIENT)

    def post(self, message: Message, json: object, query: str = "") -> Answer:
        """Post JSON; ``query`` is added to the URL. Raises ``PermanentError`` without a URL."""
        url = self._url(message.recipient)
        if query:
            url += f"{'&' if '?' in url else '?'}{query}"
        return self.request(message, "POST", url, json=json)

    def classify(self, message: Message, answer: Answer) -> None:
        """Classify as all kinds do; a redirect is laid on whose URL it was."""
        classify(answer, is_recipients_url=_is_url(message.recipient))

    def webhook_is_gone(self, message: Message, answer: Answer) -> PermanentError | AccountRefused:
        """Return the error that lays a webhook that is gone on whose URL it was."""
        code = f"HTTP {answer.status}"
        if _is_url(message.recipient):
            return InvalidRecipient("The webhook is gone.", code=code)
        return AccountRefused("The account's webhook is gone.", code=code)

    def _url(self, recipient: str) -> str:
        if self.takes(recipient) is Fit.CERTAIN:
            return recipient
        given: Any = self.account.secrets.get("url")
        if not given or _is_url(recipient):
            raise PermanentError(
                f"It is not a webhook of {self.kind}.", code="not_a_webhook", elsewhere=True
            )
        return str(given).strip().replace("{recipient}", quote(recipient, safe=""))


def _is_url(recipient: str) -> bool:
    return recipient.lower().startswith(("https://", "http://"))
