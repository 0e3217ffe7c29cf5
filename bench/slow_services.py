"""Services that take their time: mail over SMTP, and HTTP for text messages and webhooks.

``python -m bench.slow_services SMTP_PORT HTTP_PORT``. Each mail is taken after as many milliseconds
as the recipient's domain begins with (``ada@100.example.org``), each request answered after those
that its path begins with (``/100/…``). A path that begins with ``/never`` is not answered.
"""

import asyncio
import re
import sys

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_ANSWER = b'{"sid": "SM1"}'
_HEAD = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_RESPONSE = _HEAD % len(_ANSWER) + _ANSWER


class Service(asyncio.Protocol):
    """A connection on which one thing is asked after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.out = transport
        self.received = b""

    def answer(self, answer: bytes, milliseconds: int) -> None:
        if milliseconds:
            asyncio.get_running_loop().call_later(milliseconds / 1000, self.out.write, answer)
        else:
            self.out.write(answer)


class Mail(Service):
    """SMTP without pipelining."""

    _in_mail = False
    _milliseconds = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.out.write(b"220 slow\r\n")

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            end = b"\r\n.\r\n" if self._in_mail else b"\r\n"
            chunk, found, rest = self.received.partition(end)
            if not found:
                return
            self.received = rest
            if self._in_mail:
                self._in_mail = False
                self.answer(b"250 taken\r\n", self._milliseconds)
            else:
                self._hear(chunk)

    def _hear(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"RCPT":
            self._milliseconds = int(line.partition(b"@")[2].partition(b".")[0])
        self._in_mail = verb == b"DATA"
        answers = {b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}
        self.out.write(answers.get(verb, b"250 ok\r\n"))


class Http(Service):
    """HTTP/1.1 with kept connections."""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, rest = self.received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if found else None
        if not found or len(rest) < (int(length[1]) if length else 0):
            return
        self.received = b""
        pace = head.split(b"/", 2)[1].split(b" ")[0]
        if pace != b"never":
            self.answer(_RESPONSE, int(pace))


async def main(smtp_port: int, http_port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Mail, "127.0.0.1", smtp_port)
    http = await loop.create_server(Http, "0.0.0.0", http_port, backlog=1000)  # all of 127/8
    print("services ready", flush=True)
    await http.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
