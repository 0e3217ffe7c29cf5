"""The long tail (Teams, Telegram, Matrix and many more), by Apprise.

Apprise answers yes or no: what a no means is read from the service's answer.
"""

import sys
from email import charset
from functools import cache
from typing import Any
from urllib.parse import quote

import requests
from apprise import Apprise, NotifyFormat
from apprise.plugins import NotifyBase
from apprise.plugins import email as _email_plugin  # noqa: F401 -- loaded now, see below

from notifications.channels.base import Account, Message
from notifications.channels.bounded_requests import BoundedRequests
from notifications.channels.http import HttpProvider, classify, credentials_refused
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

# Its plugin for email has the whole process write UTF-8 as quoted-printable: back to the standard.
charset.add_charset("utf-8", charset.SHORTEST, charset.BASE64, "utf-8")


class AppriseProvider(HttpProvider):
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

    def send(self, message: Message) -> str:
        service = Apprise.instantiate(
            self._url.replace("{recipient}", quote(message.recipient, safe="")),
            suppress_exceptions=True,
        )
        if not isinstance(service, NotifyBase):
            raise PermanentError("The recipient does not fit into the URL.", code="bad_url")
        bounded = _bounded(type(service).__module__)
        content = message.content
        with bounded.sending(message):
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


class _Requests:
    """The library ``requests`` as a plugin of Apprise sees it, with every request bounded."""

    def __init__(self, bounded: BoundedRequests) -> None:
        session = bounded.session()
        for method in ("request", "get", "post", "put", "patch", "delete", "head", "options"):
            setattr(self, method, getattr(session, method))

    def __getattr__(self, name: str) -> Any:
        return getattr(requests, name)


@cache
def _bounded(plugin: str) -> BoundedRequests:
    """Put our client in the place of the one that a plugin has imported.

    Apprise has no other way: its plugins call ``requests`` by the name in their module.
    """
    bounded = BoundedRequests()
    vars(sys.modules[plugin])["requests"] = _Requests(bounded)
    return bounded
