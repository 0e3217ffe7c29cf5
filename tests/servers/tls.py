"""TLS for the servers of the tests: certificates, and a door before a Postgres or a Redis."""

import asyncio
import ssl
import threading
from pathlib import Path
from typing import Self

import trustme

from tests.servers.process import free_port
from tests.servers.reaper import temporary_folder

# https://www.postgresql.org/docs/current/protocol-message-formats.html, SSLRequest
SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)


class Authority:
    """Signs certificates for ``localhost``; ``file`` is what a client is to trust."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self.folder = temporary_folder("authority")
        self.file = self.folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def certificate(self) -> trustme.LeafCert:
        return self._authority.issue_cert("localhost")


class TlsDoor:
    """Listens with TLS on ``port``, and hands what comes in to a server without it.

    Servers of the tests are often built without TLS; to a client this is not different. To a
    Postgres a client speaks in plain words first, and asks for TLS; that is ``asked``.
    """

    def __init__(self, behind: int, authority: Authority, *, asked: bool = False) -> None:
        self._behind, self._asked = behind, asked
        self.port = free_port()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.certificate().configure_cert(self._context)
        self._listening, self._closing = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def start(self) -> Self:
        self._thread.start()
        self._listening.wait(10)
        return self

    def stop(self) -> None:
        """Hang up on everybody."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        where = ("127.0.0.1", self.port)
        tls = None if self._asked else self._context
        server = await asyncio.start_server(self._let_in, *where, ssl=tls)
        self._listening.set()
        await self._closing.wait()
        server.close()

    async def _let_in(self, inside: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        if self._asked:
            assert await inside.readexactly(8) == SSL_REQUEST
            back.write(b"S")
            try:
                await back.start_tls(self._context)
            except (ConnectionError, ssl.SSLError):
                return  # whoever does not trust the certificate hangs up
        answers, onward = await asyncio.open_connection("127.0.0.1", self._behind)
        await asyncio.gather(_carry(inside, onward), _carry(answers, back))


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Carry bytes until either side hangs up."""
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except (ConnectionError, ssl.SSLError):
        return  # whoever hung up knows why
    finally:
        target.close()


def trusted(url: str, **options: str | Path) -> str:
    """Add these options to an address."""
    return f"{url}?{'&'.join(f'{name}={value}' for name, value in options.items())}"
