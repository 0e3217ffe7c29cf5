"""The HTTP client of every provider: bounded in time, in size, and in where it may reach."""

import ipaddress
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from notifications.errors import DeliveryError, PermanentError, TransientError, UnknownOutcome

ANSWER_LIMIT = 64 * 1024  # bytes that are read of an answer

_time = threading.local()  # ``deadline`` of the request that this thread makes


class PrivateAddress(PermanentError):
    """The URL leads into a private network, where webhooks must not reach."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``body`` is cut off at ``ANSWER_LIMIT``."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Keeps its connections; may be used by several threads at once.

    ``guarded`` refuses private addresses. ``trust`` is what httpx takes for ``verify``.
    """

    def __init__(self, *, guarded: bool = False, trust: Any = True) -> None:
        transport = httpx.HTTPTransport(retries=0)
        transport._pool = httpcore.ConnectionPool(  # noqa: SLF001 -- httpx has no way to pass a network backend
            ssl_context=httpx.create_ssl_context(verify=trust),
            network_backend=BoundedBackend(guarded=guarded),
            max_connections=100,
            max_keepalive_connections=100,
            keepalive_expiry=30,
        )
        self._client = httpx.Client(
            transport=transport,
            follow_redirects=False,
            trust_env=False,
            # What is read is cut off, so it cannot be unpacked, and could be a bomb.
            headers={"Accept-Encoding": "identity"},
        )

    def request(self, method: str, url: str, *, timeout: float, **options: Any) -> Answer:
        """Make one request that is over after ``timeout`` seconds, whatever the server does.

        Raises ``TransientError`` when nothing was handed over, ``UnknownOutcome`` when it may
        have been, ``PrivateAddress``, and ``PermanentError`` for what is no URL.
        """
        _time.deadline = time.monotonic() + timeout
        try:
            with self._client.stream(method, url, timeout=timeout, **options) as response:
                body = _read_some(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _not_connected(error) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise PermanentError("It is no URL of a web server.", code="bad_url") from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise UnknownOutcome(describe(error), code=type(error).__name__) from error
        return Answer(response.status_code, response.headers, body)

    def close(self) -> None:
        self._client.close()


def describe(error: Exception) -> str:
    """Say what happened without the URL, which may hold a secret."""
    return f"{type(error).__name__.removesuffix('Error')}: the request got no answer."


def _read_some(response: httpx.Response) -> bytes:
    """Read an answer up to a size, so that an endless one holds nobody."""
    body = b""
    try:
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > ANSWER_LIMIT:
                break
    except httpx.HTTPError:
        # Its status came, and that is the answer; a body cut off says no more than an empty one.
        return b""
    return body[:ANSWER_LIMIT]


def _not_connected(error: Exception) -> DeliveryError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _RefusedAddress):
            return PrivateAddress(str(cause), code="private_address")
        cause = cause.__cause__ or cause.__context__
    return TransientError(describe(error), code=type(error).__name__)


class _RefusedAddress(httpcore.ConnectError):
    pass


class BoundedBackend(httpcore.SyncBackend):
    """Holds every connection to the deadline of its request, and to public addresses if guarded.

    A name is resolved once, every address is checked, and one that was checked is connected
    to: a name that changes in between (DNS rebinding) gains nothing.
    """

    def __init__(self, *, guarded: bool) -> None:
        self._guarded = guarded

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
        if self._guarded and not all(map(is_public, addresses)):
            raise _RefusedAddress(f"{host} is a private address")
        return BoundedStream(
            self._first_that_answers(addresses, port, local_address, socket_options)
        )

    def _first_that_answers(
        self, addresses: list[str], port: int, local_address: str | None, options: Any
    ) -> httpcore.NetworkStream:
        for address in addresses[:-1]:
            try:
                return super().connect_tcp(address, port, _left(), local_address, options)
            except httpcore.ConnectError:
                continue
        return super().connect_tcp(addresses[-1], port, _left(), local_address, options)


class BoundedStream(httpcore.NetworkStream):
    """A stream whose reads and writes end with the deadline of the request at hand.

    A timeout alone starts afresh with each byte, so a drip of bytes would hold a worker.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, _left()))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(over: type[Exception] = httpcore.ConnectTimeout) -> float:
    left: float = _time.deadline - time.monotonic()
    if left <= 0:
        raise over("The time for this message is over.")
    return left


def is_public(address: str) -> bool:
    """Tell whether an IP address belongs to the public internet, also behind an IPv6 mapping."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        else:
            ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
