"""The content of a mail is read the same in however many pieces it comes (RFC 5321, 4.5.2)."""

import asyncio

import pytest

from notifications.gateways import smtp_data

AFTER = b"NOOP\r\n"
CONTENTS = {
    b".\r\n": b"",
    b"\r\n.\r\n": b"\r\n",
    b"a\r\n.\r\n": b"a\r\n",
    b"a\r\n\r\n.\r\n": b"a\r\n\r\n",
    b"a.\r\nb.\r\n.\r\n": b"a.\r\nb.\r\n",
    b"..\r\n...\r\n..a\r\n.\r\n": b".\r\n..\r\n.a\r\n",
    b"a\r.\r\nb\n.\r\n\r\n.\r\n": b"a\r.\r\nb\n.\r\n\r\n",
    b"x" * 998 + b"\r\nz\r\n.\r\n": b"x" * 998 + b"\r\nz\r\n",
    (b"line.\r\n" * 3000) + b".\r\n": b"line.\r\n" * 3000,
}


def received(sent: bytes, size: int, most: int = 100_000) -> tuple[bytes, bytes]:
    """Return what is read of ``sent``, which comes in pieces of a size, and what is left."""

    async def read() -> tuple[bytes, bytes]:
        reader = asyncio.StreamReader(limit=1001)

        async def feed() -> None:
            for at in range(0, len(sent), size):
                reader.feed_data(sent[at : at + size])
                await asyncio.sleep(0)
            reader.feed_eof()

        feeding = asyncio.create_task(feed())
        try:
            return await smtp_data.read(reader, most), await reader.read()
        finally:
            await feeding
            assert (await reader.read()) in (b"", AFTER)

    return asyncio.run(read())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 100_000])
@pytest.mark.parametrize("sent", CONTENTS, ids=lambda sent: repr(sent[:20]))
def test_a_mail_ends_at_its_dot_and_what_follows_is_left(sent: bytes, size: int) -> None:
    assert received(sent + AFTER, size) == (CONTENTS[sent], AFTER)


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_what_is_too_long_or_too_much_is_read_to_its_end(size: int) -> None:
    with pytest.raises(smtp_data.TooLong):
        received(b"a\r\n" + b"x" * 1001 + b"\r\n.\r\n" + AFTER, size)
    with pytest.raises(smtp_data.TooMuch):
        received(b"x\r\n" * 500 + b".\r\n" + AFTER, size, most=1000)
    assert received(b"x" * 8 + b"\r\n.\r\n" + AFTER, size, most=10)[1] == AFTER
    with pytest.raises(asyncio.IncompleteReadError):
        received(b"From: a@b.example\r\n\r\nDear", size)
