"""Mails over SMTP from 20 connections, accepted durably, beside a server that forgets them."""

import asyncio
import base64
import time
from collections.abc import Callable, Iterator

from bench.benchmark import Benchmark, Sample
from bench.stage import Stage, empty
from tests.servers.process import free_port

MAILS = 5000
CONNECTIONS = 20
MAIL = (
    b"From: Shop <shop@example.org>\r\nTo: ada@example.org\r\nSubject: Hello\r\n"
    b"Date: Thu, 26 Nov 2026 07:00:00 +0000\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nMessage-ID: <%d@shop.example>\r\n\r\n"
    + b"Dear Ada, this is a mail of some lines.\r\n" * 20
    + b".\r\n"
)


def prepare(stage: Stage) -> Callable[[], Sample]:
    from notifications.models import ProviderAccount
    from notifications.operations import api_keys

    ProviderAccount.objects.create(name="bench", channel="email", kind="outbox")
    token = api_keys.create("bench", rate=100_000).token
    port, floor_port = free_port(), free_port()
    stage.processes.start(
        "smtp", "python", "manage.py", "smtp_server", "--port", str(port)
    ).wait_for_output("SMTP on")
    stage.processes.start(
        "floor", "python", "-m", "bench.smtp_floor", str(floor_port)
    ).wait_for_output("SMTP on")

    def play() -> Sample:
        from notifications.models import Notification

        seconds = _seconds(port, token)
        if (count := Notification.objects.count()) != MAILS:
            raise RuntimeError(f"Of {MAILS} mails, {count} are there.")
        empty(stage)
        return Sample(ours=MAILS / seconds, floor=MAILS / _seconds(floor_port, token))

    return play


def _seconds(port: int, token: str) -> float:
    began = time.perf_counter()
    asyncio.run(_send_all(port, token))
    return time.perf_counter() - began


async def _send_all(port: int, token: str) -> None:
    numbers = iter(range(MAILS))
    await asyncio.gather(*(_session(port, token, numbers) for _ in range(CONNECTIONS)))


async def _session(port: int, token: str, numbers: Iterator[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def say(line: bytes, wanted: bytes) -> None:
        if line:
            writer.write(line)
        while (answer := await reader.readline())[3:4] == b"-":
            pass
        if not answer.startswith(wanted):
            raise RuntimeError(f"The server said {answer!r}.")

    await say(b"", b"220")
    await say(b"EHLO bench\r\n", b"250")
    login = base64.b64encode(f"\0bench\0{token}".encode())
    await say(b"AUTH PLAIN " + login + b"\r\n", b"235")
    for number in numbers:  # which all sessions share
        await say(b"MAIL FROM:<shop@example.org>\r\n", b"250")
        await say(b"RCPT TO:<user%d@example.org>\r\n" % number, b"250")
        await say(b"DATA\r\n", b"354")
        await say(MAIL % number, b"250")
    await say(b"QUIT\r\n", b"221")
    writer.close()


SMTP_SERVER = Benchmark(
    title=f"mails over SMTP from {CONNECTIONS} connections, accepted durably",
    floor_title="aiosmtpd with a handler that stores nothing",
    unit="/s",
    prepare=prepare,
    target=">= 500/s",
)
