"""The content of a mail as a client sends it after DATA (RFC 5321, 4.1.1.4 and 4.5.2).

aiosmtpd reads it line by line, which costs a fourth of a session's time; here what has come is
taken at once.
"""

from asyncio import LimitOverrunError, StreamReader

END = b"\r\n.\r\n"
LONGEST_LINE = 1000  # octets with its CR LF (RFC 5321, 4.5.3.1.6)
_BEGINNINGS = tuple(END[:length] for length in range(1, len(END)))


class TooMuch(Exception):
    """The mail is larger than it may be."""


class TooLong(Exception):
    """A line is longer than it may be."""


async def read(reader: StreamReader, most: int) -> bytes:
    """Read a mail to its final dot, and return it without the dots that hide those of its lines.

    What follows the mail stays in the reader. Raises, when the mail is over, ``TooMuch`` for one of
    more than ``most`` octets and ``TooLong``; ``IncompleteReadError`` where the client is gone.
    """
    data = bytearray(b"\r\n")  # the end of the command: the dot may follow at once
    is_too_large = False
    while not data.endswith(END):
        data += await _more(reader, data)
        if len(data) - len(END) > most:
            is_too_large = True
            del data[: -len(END)]  # what is dropped cannot fill the memory
    if is_too_large:
        raise TooMuch
    content = bytes(data[2:-3]).replace(b"\r\n.", b"\r\n")
    content = content[1:] if content.startswith(b".") else content
    if max(map(len, content.split(b"\n"))) >= LONGEST_LINE:
        raise TooLong
    return content


async def _more(reader: StreamReader, data: bytearray) -> bytes:
    """Read on: to the end that is in sight, or as much as has come without one."""
    if data.endswith(_BEGINNINGS):  # of the end, of which the rest may come now
        return await reader.readexactly(1)
    try:
        return await reader.readuntil(END)
    except LimitOverrunError as error:  # the end is not among what has come, or farther away
        return await reader.readexactly(error.consumed)
