"""The long tail (Teams, Telegram, Matrix and many more), by Apprise.

Apprise answers yes or no: what a no means is read from the service's answer.
"""

import sys
import threading
from collections.abc import Mapping
from email import charset
from functools import cache
from typing import Any
from urllib.parse import quote

import requests
from apprise import Apprise, NotifyFormat
from apprise.plugins import NotifyBase
from apprise.plugins import email as _email_plugin  # noqa: F401 -- loaded now, see below

from notifications.channels import requests_adapter
from notifications.channels.base import Account, Message
from notifications.channels.bounded_requests import BoundedRequests
from notifications.channels.http import HttpProvider, classify, credentials_refused
from notifications.channels.http_client import Answer
from notifications.channels.outgoing import Reach
from notifications.core.errors import PermanentError, UnknownOutcome

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
        *("matrix", "matrixs", "mmost", "mmosts", "workflow", "workflows", "ncloud"),
        *("nclouds", "nctalk", "nctalks", "ntfy", "ntfys", "pover", "rocket", "rockets", "signal"),
        *("signals", "signl4", "slack", "tgram", "twist", "webex", "wxteams", "zulip", "threema"),
    }
)

RECIPIENT = "{recipient}"
_WAYS_AROUND = frozenset({"Session", "session", "sessions", "adapters", "api"})

# Its plugin for email has the whole process write UTF-8 as quoted-printable: back to the standard.
charset.add_charset("utf-8", charset.SHORTEST, charset.BASE64, "utf-8")


class AppriseProvider(HttpProvider):
    """Notifies one service; ``{recipient}`` in the URL stands for the recipient."""

    kind = "apprise"
    channels = ("chat", "push", "sms")
    secret_names = {"url": "An Apprise URL, like tgram://bot-token/{recipient}."}

    @classmethod
    def secret_problem(cls, name: str, value: str) -> str:
        if value.partition("://")[0].lower() in ALLOWED:
            return ""
        return f"Its schema is not among the schemas that may be used: {_names()}."

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._url = account.secrets["url"]
        if problem := self.secret_problem("url", self._url):
            raise ValueError(problem)
        place = self._url.partition("://")[2].partition("/")[0]
        # In place of a host, it is the recipient who chooses where to.
        self._reach = Reach.RECIPIENT if RECIPIENT in place else Reach.ACCOUNT

    def send(self, message: Message) -> str:
        service = Apprise.instantiate(
            self._url.replace(RECIPIENT, quote(message.recipient, safe="")),
            suppress_exceptions=True,
        )
        if not isinstance(service, NotifyBase):
            raise PermanentError("The recipient does not fit into the URL.", code="bad_url")
        bounded = _bounded(type(service).__module__).of(self._reach)
        content = message.content
        with bounded.within(message.seconds_left()):
            taken = service.notify(
                title=content.get("title") or content.get("subject") or "",
                body=content.get("text") or content.get("body") or "",
                body_format=NotifyFormat.TEXT,
            )
        if taken:
            return ""
        if bounded.answer is not None:
            credentials_refused(bounded.answer)
            classify(bounded.answer)
        raise UnknownOutcome("The service did not take it.", code="refused")


def _names() -> str:
    return ", ".join(sorted(ALLOWED))


class _Requests:
    """The library ``requests`` as a plugin of Apprise sees it, with every request bounded."""

    def __init__(self) -> None:
        self._bounded = {
            reach: BoundedRequests(reach) for reach in (Reach.RECIPIENT, Reach.ACCOUNT)
        }
        self._of_thread = threading.local()
        session = requests_adapter.mount(requests.Session(), self._make)
        for method in ("request", "get", "post", "put", "patch", "delete", "head", "options"):
            setattr(self, method, getattr(session, method))

    def of(self, reach: Reach) -> BoundedRequests:
        """Have this thread's requests lead no further than that."""
        self._of_thread.bounded = self._bounded[reach]
        return self._bounded[reach]

    def _make(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> Answer:
        bounded: BoundedRequests = self._of_thread.bounded
        return bounded.make(method, url, headers, body)

    def __getattr__(self, name: str) -> Any:
        if name in _WAYS_AROUND:
            raise AttributeError(name)
        return getattr(requests, name)


@cache
def _bounded(plugin: str) -> _Requests:
    """Put our client in the place of the one that a plugin has imported.

    Apprise has no other way: its plugins call ``requests`` by the name in their module.
    """
    made = _Requests()
    vars(sys.modules[plugin])["requests"] = made
    return made
