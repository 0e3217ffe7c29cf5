"""The long tail (Teams, Telegram, Matrix and many more), by Apprise.

Apprise answers yes or no, without a code: what did not go well is of unknown outcome.
"""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TimeIsOver
from urllib.parse import quote

from apprise import Apprise, NotifyFormat

from notifications.channels.base import Account, Message, Provider
from notifications.errors import PermanentError, UnknownOutcome

# Services that are reached over HTTP. Those that act on this machine stay out.
ALLOWED = frozenset(
    {
        *(
            "discord",
            "gchat",
            "gotify",
            "gotifys",
            "json",
            "jsons",
            "line",
            "mastodon",
            "mastodons",
        ),
        *("matrix", "matrixs", "mmost", "mmosts", "msteams", "workflow", "workflows", "ncloud"),
        *("nclouds", "nctalk", "nctalks", "ntfy", "ntfys", "pover", "rocket", "rockets", "signal"),
        *("signals", "signl4", "slack", "tgram", "twist", "webex", "wxteams", "zulip", "threema"),
    }
)


class AppriseProvider(Provider):
    """Notifies one service; ``{recipient}`` in the URL stands for the recipient."""

    kind = "apprise"
    channels = ("chat", "push", "sms")
    secret_names = {"url": "An Apprise URL, like tgram://bot-token/{recipient}."}

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._url = account.secrets["url"]
        schema = self._url.partition("://")[0].lower()
        if schema not in ALLOWED:
            raise ValueError(f"{schema!r} is not among the schemas that may be used.")
        self._threads = ThreadPoolExecutor(16, f"{account.name} provider")

    def send(self, message: Message) -> str:
        service = Apprise.instantiate(
            self._url.replace("{recipient}", quote(message.recipient, safe="")),
            suppress_exceptions=True,
        )
        if not service:
            raise PermanentError("The recipient does not fit into the URL.", code="bad_url")
        service.socket_connect_timeout = service.socket_read_timeout = message.timeout
        content = message.content
        # In a thread, for a service that sends a byte now and then outlasts those timeouts.
        asked = self._threads.submit(
            service.notify,
            title=content.get("title") or content.get("subject") or "",
            body=content.get("text") or content.get("body") or "",
            body_format=NotifyFormat.TEXT,
        )
        try:
            if asked.result(timeout=message.timeout):
                return ""
        except TimeIsOver:
            raise UnknownOutcome("The service did not answer.", code="timeout") from None
        raise UnknownOutcome("The service did not take it.", code="refused")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
