"""A proxy in front of a server: it may delay or spoil what goes by, or pass nothing on."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Self

from tests.servers.process import free_port

Spoil = Callable[[bytes], bytes]


def half(reply: bytes) -> bytes:
    """Return the first half of what arrived; the connection then stays open, and silent."""
    return reply[: max(1, len(reply) // 2)]


def only(part: bytes, spoil: Spoil) -> Spoil:
    """Spoil no other replies than those that contain this."""
    return lambda reply: spoil(reply) if part in reply else reply


class Proxy:
    """Listens on ``port``; a connection whose answer was spoilt stays silent for good."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.spoil: Spoil | None = None
        self.spoilt = 0
        self.answers = 0  # that have gone by
        self.delay = 0.0  # seconds, each way
        self._target = target
        self._passes = asyncio.Event()
        self._passes.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        started = asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._loop.run_until_complete(started)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.1))
        self._loop.close()

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Pass nothing on, either way, not even an end; what was sent arrives afterwards."""
        self._do(self._passes.clear)
        try:
            yield
        finally:
            self._do(self._passes.set)

    def _do(self, change: Callable[[], None]) -> None:
        """Make a change between two reads, and return when it holds."""

        async def make() -> None:
            change()

        asyncio.run_coroutine_threadsafe(make(), self._loop).result()

    def _run(self) -> None:
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError), closing(writer):
            await self._passes.wait()
            answers, requests = await asyncio.open_connection("127.0.0.1", self._target)
            with closing(requests):  # also where the client was killed, and so reset it
                await asyncio.gather(self._forward(reader, requests), self._answer(answers, writer))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await self._read(reader):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """Read what may be passed on by now; nothing at the end."""
        data = await reader.read(65536)
        await asyncio.sleep(self.delay)
        await self._passes.wait()
        return data

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent = False
        while data := await self._read(reader):
            self.answers += 1
            if silent:
                continue
            sent = self.spoil(data) if self.spoil else data
            if silent := sent != data:
                self.spoilt += 1
            writer.write(sent)
            await writer.drain()
        writer.close()
