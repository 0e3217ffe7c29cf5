"""The HTTP client of every provider: bounded in time, in size, and in where it may reach.

It is libcurl by pycurl: of the kept clients that let us choose the address of a connection it took
the least processor time per request (docs/decisions/0007-libcurl.md).
"""

import base64
import json as json_text
import os
import select
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import urlencode

import certifi
import httpx
import pycurl

from notifications.channels import outgoing, tls
from notifications.channels.outgoing import AddressRefused, Reach, UnknownHost
from notifications.core import descriptors
from notifications.core.errors import (
    AccountRefused,
    DeliveryError,
    PermanentError,
    TransientError,
    UnknownOutcome,
)

ANSWER_LIMIT = 64 * 1024  # bytes that are read of an answer
MOST_KEPT = 250  # connections that wait for their next request
KEPT_FOR = 30  # seconds that an unused connection is kept

_PORTS = {"http": 80, "https": 443}
# Which part of a request failed, in the words that attempts have always had.
_UNSENT = {
    pycurl.E_OPERATION_TIMEDOUT: "ConnectTimeout",
    pycurl.E_PEER_FAILED_VERIFICATION: "CertificateError",
    pycurl.E_SSL_CONNECT_ERROR: "TLSError",
}
_SENT = {
    pycurl.E_OPERATION_TIMEDOUT: "ReadTimeout",
    pycurl.E_SEND_ERROR: "WriteError",
    pycurl.E_GOT_NOTHING: "ReadError",
    pycurl.E_RECV_ERROR: "ReadError",
    pycurl.E_SEND_FAIL_REWIND: "ReadError",
}


class PrivateAddress(PermanentError):
    """The URL leads into a private network, where webhooks must not reach."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the headers' names are in lower case, ``body`` ends at ``ANSWER_LIMIT``."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Keeps its connections; may be used by several threads at once.

    ``reach`` says who chose the addresses. ``ca_file`` names the authorities to trust, by default
    those that everybody trusts; raises ``OSError`` or ``ValueError`` for a file that has none.
    """

    def __init__(self, *, reach: Reach = Reach.ACCOUNT, ca_file: str | None = None) -> None:
        self._reach = reach
        self._authorities = tls.authorities(ca_file) if ca_file else None
        self._free: list[_Handle] = []  # in the order of their last use
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        *,
        timeout: float,
        content: bytes | str | None = None,
        data: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Answer:
        """Make one request that is over after ``timeout`` seconds, whatever the server does.

        Its body is ``content``, or ``data`` as a form, or ``json``. Redirects are not followed.

        Raises ``TransientError`` when nothing was sent, also where ``timeout`` leaves no
        time, ``UnknownOutcome`` when it may have been, ``PrivateAddress`` (``AccountRefused``
        where it is the account's address), and ``PermanentError`` for a bad URL or header.
        """
        deadline = time.monotonic() + timeout
        where = _where(url)
        body, own = _body(content, data, json)
        lines = _lines({"Accept-Encoding": "identity", **own}, headers or {}, auth)
        _left(deadline)
        try:
            try:
                return self._ask(method, where, lines, body, deadline)
            except OSError as error:
                if not descriptors.are_spent(error):
                    raise
                self.close()  # kept connections of others have some
                return self._ask(method, where, lines, body, deadline)
        except AddressRefused as error:
            kind = PrivateAddress if self._reach is Reach.RECIPIENT else AccountRefused
            raise kind(str(error), code="private_address") from error
        except TimeoutError as error:
            raise _failed("ConnectTimeout", sent=False) from error
        except UnknownHost as error:
            code = "NoDescriptors" if descriptors.are_spent(error) else type(error).__name__
            raise _failed(code, sent=False) from error
        except OSError as error:
            code = "NoDescriptors" if descriptors.are_spent(error) else "ConnectError"
            raise _failed(code, sent=False) from error

    def _ask(
        self, method: str, where: "_Where", lines: list[bytes], body: bytes | None, deadline: float
    ) -> Answer:
        handle = self._handle_for(where)
        try:
            handle.lead_to(where, deadline, self._reach)
            return handle.perform(method, where, lines, body, deadline)
        finally:
            self._keep(handle)

    def close(self) -> None:
        """Close the connections that no request uses."""
        with self._lock:
            free, self._free = self._free, []
        for handle in free:
            handle.close()

    def _handle_for(self, where: "_Where") -> "_Handle":
        """Take a handle that was connected to there; while there are few, else a new one."""
        with self._lock:
            for place in range(len(self._free) - 1, -1, -1):
                if self._free[place].origin == where.origin:
                    return self._free.pop(place)
            if len(self._free) >= MOST_KEPT:
                return self._free.pop(0)
        return _Handle(self._authorities)

    def _keep(self, handle: "_Handle") -> None:
        with self._lock:
            self._free.append(handle)
            oldest = self._free[0]
            is_over = len(self._free) > MOST_KEPT or oldest.is_idle()
            over = self._free.pop(0) if is_over else None
        if over is not None:
            over.close()


class _Where(NamedTuple):
    """A URL as it is asked for, and whom its request connects to."""

    url: str
    host: str
    port: int

    @property
    def origin(self) -> str:
        return f"{self.host}:{self.port}"


class _Handle:
    """One handle of libcurl, which keeps one connection; used by one thread at a time.

    It keeps the authorities that it has read, too, which takes as long as a hundred requests.
    """

    def __init__(self, authorities: bytes | None) -> None:
        self.origin = ""  # that it was connected to
        self._used_at = time.monotonic()
        self._allowed: list[str] = []
        self._opened: list[socket.socket] = []
        self._curl = curl = pycurl.Curl()
        for option, value in _OPTIONS.items():
            curl.setopt(option, value)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open)
        if authorities is None:
            curl.setopt(pycurl.CAINFO, os.environ.get("SSL_CERT_FILE") or certifi.where())
        else:
            curl.setopt(pycurl.CAINFO_BLOB, authorities)

    def close(self) -> None:
        self._curl.close()

    def lead_to(self, where: _Where, deadline: float, reach: Reach) -> None:
        """Look up and check the addresses of a URL, unless there is a connection to it.

        They are looked up once, and the connection leads to one that was checked. Raises as
        ``outgoing.addresses``.
        """
        if where.origin == self.origin and self._is_connected():
            self._curl.setopt(pycurl.FRESH_CONNECT, 0)
            return
        self.origin = ""
        self._curl.setopt(pycurl.FRESH_CONNECT, 1)
        self._allowed = outgoing.addresses(where.host, where.port, deadline, reach)
        if where.host.strip("[]") not in self._allowed:
            addresses = ",".join(f"[{ip}]" if ":" in ip else ip for ip in self._allowed)
            self._curl.setopt(pycurl.RESOLVE, [f"{where.origin}:{addresses}"])
        self.origin = where.origin

    def is_idle(self) -> bool:
        """Return whether the connection was not used for so long that it should be closed."""
        return time.monotonic() - self._used_at > KEPT_FOR

    def _is_connected(self) -> bool:
        """Return whether the kept connection can be used: nobody has closed it, or sent more.

        libcurl would use a connection without a look for a second after its last request.
        """
        descriptor = self._curl.getinfo(pycurl.ACTIVESOCKET)
        if descriptor == -1 or self.is_idle():
            return False
        connection = select.poll()
        connection.register(descriptor, select.POLLIN)
        return not connection.poll(0)

    def perform(
        self, method: str, where: _Where, lines: list[bytes], body: bytes | None, deadline: float
    ) -> Answer:
        """Make the request. Raises ``DeliveryError``, and ``OSError`` where it has no socket."""
        left = _left(deadline)
        curl, head, received = self._curl, list[bytes](), _Received()
        curl.setopt(pycurl.URL, where.url)
        curl.setopt(pycurl.HTTPHEADER, lines)
        curl.setopt(pycurl.TIMEOUT_MS, left)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, left)
        curl.setopt(pycurl.HEADERFUNCTION, head.append)
        curl.setopt(pycurl.WRITEFUNCTION, received.write)
        if body is None:
            curl.setopt(pycurl.HTTPGET, 1)
        else:
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(body))
            # Of a function libcurl cannot have the body twice. So what a kept connection took
            # before it broke is not sent again, behind our back, on another one.
            curl.setopt(pycurl.READFUNCTION, BytesIO(body).read)
        curl.setopt(pycurl.CUSTOMREQUEST, method)
        self._used_at = time.monotonic()
        try:
            curl.perform()
        except pycurl.error as error:
            # Once a status came, that is the answer; a body cut off says no more than a whole one.
            if not _is_whole(head):
                failed = self._outcome(error.args[0])
                if failed.code == "ConnectError":
                    descriptors.check()
                raise failed from None  # the error's text has the address
            if not received.is_too_long:
                received.clear()
        finally:
            for opened in self._opened:
                opened.close()
            self._opened.clear()
        status = curl.getinfo(pycurl.RESPONSE_CODE)
        if status < 200:
            raise _failed("RemoteProtocolError", sent=True)  # it answers more, or nothing we know
        return Answer(status, _headers(head), received.body)

    def _outcome(self, code: int) -> DeliveryError:
        if self._curl.getinfo(pycurl.REQUEST_SIZE):
            return _failed(_SENT.get(code, "RemoteProtocolError"), sent=True)
        if code == pycurl.E_URL_MALFORMAT:
            return _no_url()
        return _failed(_UNSENT.get(code, "ConnectError"), sent=False)

    def _open(self, _purpose: int, address: Any) -> "socket.socket | int":
        """Open the socket of a connection, if it leads to an address that was checked."""
        family, kind, protocol, place = address
        ip = place[0].decode() if isinstance(place[0], bytes) else place[0]
        if ip not in self._allowed:
            return int(pycurl.SOCKET_BAD)
        # pycurl uses a copy of the descriptor; this one is closed after the request.
        try:
            self._opened.append(socket.socket(family, kind, protocol))
        except OSError:  # libcurl says that it could not connect
            return int(pycurl.SOCKET_BAD)
        return self._opened[-1]


def _left(deadline: float) -> int:
    """Return the milliseconds that are left. Raises ``TransientError`` where none is."""
    left = int((deadline - time.monotonic()) * 1000)
    if left <= 0:
        raise TransientError("The message's time limit has passed.", code="timeout")
    return left


class _Received:
    """The body of an answer, up to a size, so that an endless one holds nobody."""

    def __init__(self) -> None:
        self.body = b""
        self.is_too_long = False

    def write(self, chunk: bytes) -> int | None:
        """Take a part; libcurl ends the transfer where another size is returned."""
        self.body += chunk
        if len(self.body) <= ANSWER_LIMIT:
            return None
        self.body = self.body[:ANSWER_LIMIT]
        self.is_too_long = True
        return 0

    def clear(self) -> None:
        self.body = b""


_OPTIONS = {
    pycurl.NOSIGNAL: 1,
    pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
    pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
    pycurl.FOLLOWLOCATION: 0,
    pycurl.PROXY: "",  # nor that of the environment
    pycurl.MAXCONNECTS: 1,
    pycurl.USERAGENT: "notifications",
}


@lru_cache(maxsize=1000)
def _where(url: str) -> _Where:
    """Read a URL. Raises ``PermanentError``."""
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeDecodeError) as error:
        raise _no_url() from error
    if parsed.scheme not in _PORTS or not host:
        raise _no_url()
    return _Where(str(parsed), host, parsed.port or _PORTS[parsed.scheme])


def _no_url() -> PermanentError:
    return PermanentError("It is not a URL of a web server.", code="bad_url")


def _body(
    content: bytes | str | None, data: Mapping[str, str] | None, json: Any
) -> tuple[bytes | None, dict[str, str]]:
    """Return the body, and the headers that say what it is."""
    if json is not None:
        text = json_text.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode(), {"Content-Type": "application/json"}
    if data is not None:
        form = urlencode(data).encode()
        return form, {"Content-Type": "application/x-www-form-urlencoded"}
    return content.encode() if isinstance(content, str) else content, {"Content-Type": ""}


def _lines(
    own: Mapping[str, str], given: Mapping[str, str], auth: tuple[str, str] | None
) -> list[bytes]:
    """Write headers as libcurl takes them; one that is given replaces our own."""
    names = {name.lower() for name in given}
    headers = {name: value for name, value in own.items() if name.lower() not in names}
    headers |= given
    if auth is not None:
        pair = base64.b64encode(":".join(auth).encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    lines = [b"Expect:"]  # libcurl would ask whether it may send a long body
    for name, value in headers.items():
        if any(char in name + value for char in "\r\n\0"):
            raise PermanentError("A header has a line break.", code="bad_header")
        lines.append(f"{name}: {value}".encode() if value else _empty(name, own))
    return lines


def _empty(name: str, own: Mapping[str, str]) -> bytes:
    """Write a header without a value: one of our own is left out."""
    return f"{name}:".encode() if name in own else f"{name};".encode()


def _is_whole(head: list[bytes]) -> bool:
    """Return whether the head of the final answer came, down to its empty line.

    What begins with 1 only announces another (RFC 9110, 15.2).
    """
    last = next((n for n, line in enumerate(reversed(head)) if line.startswith(b"HTTP/")), None)
    if last is None:
        return False
    first, *rest = head[len(head) - last - 1 :]
    return not first.partition(b" ")[2].startswith(b"1") and any(not line.strip() for line in rest)


def _headers(head: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in head:
        if line.startswith(b"HTTP/"):
            headers = {}  # those of an interim answer, such as 100
            continue
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers


_TEXTS = {
    "ConnectError": "The server refused the connection, or cannot be reached.",
    "NoDescriptors": "This process has no file descriptor left (ulimit -n): no server was asked.",
    "ConnectTimeout": "The server did not take the connection in time.",
    "NoNameServer": "No name server answered for the server's name.",
    "UnknownHost": "The server's name was not found.",
    "CertificateError": "The server's certificate was refused: it has expired, is for another "
    "name, or is of an authority that is not trusted.",
    "TLSError": "The TLS handshake with the server failed.",
}


def _failed(code: str, *, sent: bool) -> DeliveryError:
    """Say what happened without the URL, which may hold a secret."""
    text = _TEXTS.get(code, f"{code.removesuffix('Error')}: the request got no answer.")
    failed = (UnknownOutcome if sent else TransientError)(text, code=code)
    failed.local = code == "NoDescriptors"  # it tells nothing of the account
    return failed
