"""Real peers on loopback sockets that behave as badly as a test wants them to."""

import contextlib
import socket
import threading
from collections.abc import Callable

from tests.servers.process import free_port


class Peer:
    """A TCP server; ``handle`` gets each connection in a thread of its own."""

    def __init__(self, handle: Callable[[socket.socket], None]) -> None:
        self.handle = handle
        self.port = free_port()
        self.connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", self.port))

    def start(self) -> "Peer":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self) -> None:
        for socket_ in (self._listener, *self.connections):
            with contextlib.suppress(OSError):
                socket_.shutdown(socket.SHUT_RDWR)
            socket_.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self.handle(connection)


def smtp_until(
    phase: str, end: Callable[[socket.socket], None], ehlo: bytes = b"250 me\r\n"
) -> Callable[..., None]:
    """Speak SMTP properly up to ``phase`` (banner, EHLO, MAIL, RCPT, DATA, dot), then ``end``."""
    answers = {
        b"EHLO": ehlo,
        b"MAIL": b"250 OK\r\n",
        b"RCPT": b"250 OK\r\n",
        b"DATA": b"354 Go\r\n",
    }

    def handle(connection: socket.socket) -> None:
        if phase == "banner":
            return end(connection)
        connection.sendall(b"220 me\r\n")
        file = connection.makefile("rb")
        while line := file.readline():
            verb = line[:4].upper()
            if verb == phase.upper().encode():
                return end(connection)
            connection.sendall(answers.get(verb, b"250 OK\r\n"))
            if verb == b"DATA":
                while file.readline() not in (b".\r\n", b""):
                    pass
                if phase == "dot":
                    return end(connection)
                connection.sendall(b"250 Queued\r\n")
        return None

    return handle


def hang(connection: socket.socket) -> None:
    """Say nothing until the other side gives up."""
    while connection.recv(1000):
        pass


def drip(connection: socket.socket) -> None:
    """Send a byte now and then, for ever."""
    stop = threading.Event()
    while not stop.wait(0.05):
        connection.sendall(b"2")


def hang_up(connection: socket.socket) -> None:
    """Close without a word."""


def say(text: bytes) -> Callable[[socket.socket], None]:
    """Say this, then close."""
    return lambda connection: connection.sendall(text)


def http(text: bytes) -> Callable[[socket.socket], None]:
    """Read a request's head and what came with it, say this, then close."""

    def handle(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text)

    return handle


def endless(connection: socket.socket) -> None:
    """Answer 200 with a body that never ends."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n")
