"""A signed POST to the recipient's URL (Standard Webhooks, https://www.standardwebhooks.com)."""

import ipaddress
import json
import socket
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import httpcore
import httpx
from standardwebhooks import Webhook

from notifications.channels.base import Message, Provider
from notifications.channels.http import classify, describe
from notifications.errors import PermanentError, TransientError, UnknownOutcome

ANSWER_LIMIT = 64 * 1024  # bytes that are read of an answer


class PrivateAddress(PermanentError):
    """The URL leads into a private network, where webhooks must not reach."""


class WebhookProvider(Provider):
    """Posts the content, signed with every current secret so that secrets can be rotated."""

    name = "webhook"

    def __init__(self, secrets: list[str], *, allow_private_addresses: bool) -> None:
        self._signers = [Webhook(secret) for secret in secrets]
        transport = httpx.HTTPTransport(retries=0)
        transport._pool = httpcore.ConnectionPool(  # noqa: SLF001 -- httpx has no way to pass a network backend
            ssl_context=httpx.create_ssl_context(),
            network_backend=GuardedBackend(allow_private_addresses=allow_private_addresses),
            max_connections=100,
            keepalive_expiry=30,
        )
        self._client = httpx.Client(transport=transport, follow_redirects=False, trust_env=False)

    def send(self, message: Message) -> str:
        body, content_type = payload(message)
        try:
            with self._client.stream(
                "POST",
                message.recipient,
                content=body,
                headers={"Content-Type": content_type, **self.sign(message, body)},
                timeout=message.timeout,
            ) as response:
                _read_some(response, message.timeout)
                status, headers = response.status_code, response.headers
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _not_connected(error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnknownOutcome(describe(error), code=type(error).__name__) from error
        classify(status, headers)
        return str(message.id)

    def sign(self, message: Message, body: str) -> dict[str, str]:
        """Make the webhook-id, -timestamp and -signature headers; the id stays on each try."""
        now = datetime.now(UTC)
        signatures = " ".join(s.sign(str(message.id), now, body) for s in self._signers)
        return {
            "webhook-id": str(message.id),
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signatures,
        }

    def close(self) -> None:
        self._client.close()


def payload(message: Message) -> tuple[str, str]:
    """Give the body with its media type: JSON as it stands, other text wrapped into JSON."""
    body = message.content.get("body", "")
    if not isinstance(body, str):
        return json.dumps(body), "application/json"
    try:
        json.loads(body)
    except ValueError:
        subject = message.content.get("subject", "")
        return json.dumps({"subject": subject, "body": body}), "application/json"
    return body, "application/json"


def _read_some(response: httpx.Response, timeout: float) -> None:
    """Read an answer up to a size and a time, so that an endless one holds nobody."""
    ends = time.monotonic() + timeout
    size = 0
    for chunk in response.iter_raw():
        size += len(chunk)
        if size > ANSWER_LIMIT or time.monotonic() > ends:
            return


def _not_connected(error: Exception) -> Exception:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _RefusedAddress):
            return PrivateAddress(str(cause), code="private_address")
        cause = cause.__cause__ or cause.__context__
    return TransientError(describe(error), code=type(error).__name__)


class _RefusedAddress(httpcore.ConnectError):
    pass


class GuardedBackend(httpcore.SyncBackend):
    """Resolves a name once, checks every address, and connects to the address that it checked.

    A name that changes between the check and the connection (DNS rebinding) gains nothing.
    """

    def __init__(self, *, allow_private_addresses: bool) -> None:
        self._allow_private = allow_private_addresses

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved") from error
        addresses = [str(info[4][0]) for info in found]
        if not self._allow_private:
            for address in addresses:
                if not is_public(address):
                    raise _RefusedAddress(f"{host} is a private address")
        return super().connect_tcp(addresses[0], port, timeout, local_address, socket_options)


def is_public(address: str) -> bool:
    """Tell whether an IP address belongs to the public internet, also behind an IPv6 mapping."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast
