"""Many HTTP clients in one thread, each with a connection that it keeps, and how long calls took.

Sockets and a selector, no library: on a machine that the server shares, a client must be cheap.
"""

import selectors
import socket
import statistics
import time
from typing import NamedTuple
from urllib.parse import urlsplit


class Load(NamedTuple):
    """The seconds that all calls took, and what 99 of 100 stayed below."""

    seconds: float
    p99: float


class _Client:
    """One connection; ``sent_at`` is when its present call began."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self.sent_at = 0.0
        self._answer = b""

    def send(self) -> None:
        self._answer = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(self._request)

    def read(self) -> bytes | None:
        """Read what has come; return the whole answer, None while some of it is missing."""
        part = self.socket.recv(65536)
        if not part:
            raise RuntimeError("The server closed a connection.")
        self._answer += part
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return None
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        return self._answer if len(body) >= int(fields[b"content-length"]) else None


def load(
    address: str,
    method: str,
    path: str,
    *,
    clients: int,
    calls: int,
    token: str = "",
    body: str = "",
) -> Load:
    """Have ``clients`` make ``calls`` in all, one after the other on each connection.

    Raises RuntimeError on any answer but 200 and 201.
    """
    server = urlsplit(address)
    request = (
        f"{method} {path} HTTP/1.1\r\nHost: {server.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    latencies: list[float] = []
    to_send = calls
    with selectors.DefaultSelector() as selector:
        started = time.perf_counter()
        for _ in range(min(clients, calls)):
            client = _Client((server.hostname or "", server.port or 80), request)
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send()
            to_send -= 1
        while len(latencies) < calls:
            for key, _ in selector.select():
                client = key.data
                if (answer := client.read()) is None:
                    continue
                if answer[9:12] not in (b"200", b"201"):
                    raise RuntimeError(answer.decode(errors="replace"))
                latencies.append(time.perf_counter() - client.sent_at)
                if to_send:
                    to_send -= 1
                    client.send()
        seconds = time.perf_counter() - started
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return Load(seconds, statistics.quantiles(latencies, n=100)[98])
