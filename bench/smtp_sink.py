"""An SMTP server that takes everything and keeps nothing but the count.

``python -m bench.smtp_sink PORT``. It is quick enough for neither side to wait for it. NOOP
answers with the count.
"""

import asyncio
import sys

taken = 0


class Sink(asyncio.Protocol):
    """One connection. Speaks PIPELINING (RFC 2920)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._out = transport
        self._in = b""
        self._data = False
        self._out.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        global taken  # noqa: PLW0603 -- one count per process
        self._in += data
        answers = []
        while True:
            end = b"\r\n.\r\n" if self._data else b"\r\n"
            chunk, found, rest = self._in.partition(end)
            if not found:
                break
            self._in = rest
            if self._data:
                self._data = False
                taken += 1
                answers.append(b"250 taken\r\n")
            else:
                answers.append(self._answer(chunk[:4].upper()))
        if answers:
            self._out.write(b"".join(answers))

    def _answer(self, verb: bytes) -> bytes:
        match verb:
            case b"EHLO":
                return b"250-sink\r\n250-8BITMIME\r\n250 PIPELINING\r\n"
            case b"DATA":
                self._data = True
                return b"354 go\r\n"
            case b"NOOP":
                return b"250 %d\r\n" % taken
            case b"QUIT":
                return b"221 bye\r\n"
        return b"250 ok\r\n"


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    print("sink ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
