"""Whose fault a refusal by a mail server is: the account's, the message's or the recipient's.

Decided by the phase, the reply code (RFC 5321, 4.2), the enhanced status code (RFC 3463, and
IANA's registry of them), and, where these leave it open, by the server's words.
"""

import re
from enum import Enum, auto

from notifications.core.errors import (
    AccountRefused,
    DeliveryError,
    InvalidRecipient,
    PermanentError,
    TransientError,
)


class Phase(Enum):
    """What the server answers to."""

    SESSION = auto()  # the greeting, EHLO, STARTTLS, AUTH
    MAIL = auto()
    RCPT = auto()
    DATA = auto()  # the word, before the mail
    CONTENT = auto()  # the final dot


class Whose(Enum):
    """Whom a refusal concerns."""

    ACCOUNT = auto()
    MESSAGE = auto()
    RECIPIENT = auto()
    NOBODY = auto()  # the address does not exist
    UNCLEAR = auto()


# Of any phase: closing (421), authentication (RFC 4954), TLS (RFC 3207), and commands that the
# server does not take from us, such as our EHLO, which some refuse only at RCPT.
_OF_ACCOUNT = frozenset({421, 432, 454, 500, 502, 503, 504, 523, 524, 530, 534, 535, 538})
_TOO_LARGE = 552

# By the enhanced code's subject and detail; what is not listed here is the subject's own.
_DETAILS = {
    **dict.fromkeys([(1, 1), (1, 2), (1, 3), (1, 6), (1, 10)], Whose.NOBODY),
    **dict.fromkeys([(1, 7), (1, 8)], Whose.ACCOUNT),  # the sender's address
    (3, 4): Whose.MESSAGE,  # too big for the system
    **dict.fromkeys([(7, 0), (7, 1)], Whose.UNCLEAR),  # any policy
    **dict.fromkeys([(7, 2), (7, 17), (7, 18), (7, 19)], Whose.RECIPIENT),
    **dict.fromkeys([(7, n) for n in (3, 4, 5, 6, 7, 30)], Whose.MESSAGE),
}
_SUBJECTS = {
    1: Whose.RECIPIENT,  # addresses
    2: Whose.RECIPIENT,  # mailboxes
    3: Whose.ACCOUNT,  # the mail system
    4: Whose.RECIPIENT,  # the way there
    5: Whose.ACCOUNT,  # the protocol
    6: Whose.MESSAGE,  # its content
    7: Whose.ACCOUNT,  # security: credentials, TLS, SPF, DKIM, reverse DNS, floods
}
_BY_PHASE = {
    Phase.SESSION: Whose.ACCOUNT,
    Phase.MAIL: Whose.ACCOUNT,
    Phase.RCPT: Whose.RECIPIENT,
    Phase.DATA: Whose.ACCOUNT,
    Phase.CONTENT: Whose.MESSAGE,
}

# Their letters tell nothing. One begins where a word does: a long reply is looked at once.
_ADDRESSES = re.compile(r"<[^<>]*>|(?<![^\s>])[^\s@]+@\S+")
_ENHANCED = re.compile(r"[245]\.(\d{1,3})\.(\d{1,3})\b")
_WORDS_OF_RECIPIENT = re.compile(r"recipient address rejected|user unknown|mailbox", re.I)
_WORDS_OF_ACCOUNT = re.compile(
    r"relay|authent|logg?ed in|not permitted to send|not allowed to send|not verified"
    r"|helo command|sender|client host|\bip\b|blocked using|blocklist|black ?list|\brbl\b"
    r"|reputation|\bspf\b|dkim|dmarc|reverse dns|\bptr\b|starttls|quota exceeded for your",
    re.I,
)


def refusal(code: int, text: str, phase: Phase) -> DeliveryError:
    """Return the error that a reply other than the wanted one stands for.

    4xx may pass and 5xx does not (RFC 5321, 4.2.1), but an account's fault is mended by its
    operator, and another account may not have it. Where it stays unclear whose fault it is,
    another account is asked before the message is given up.
    """
    whose = _whose(code, text, phase)
    error: DeliveryError
    if whose is Whose.ACCOUNT:
        error = AccountRefused(text, code=str(code))
    elif not 500 <= code < 600:
        error = TransientError(text, code=str(code))
    elif whose is Whose.NOBODY:
        error = InvalidRecipient(text, code=str(code))
    else:
        elsewhere = whose in (Whose.MESSAGE, Whose.UNCLEAR)
        error = PermanentError(text, code=str(code), elsewhere=elsewhere)
    error.local = phase is Phase.RCPT and whose is not Whose.ACCOUNT
    return error


def _whose(code: int, text: str, phase: Phase) -> Whose:
    if phase is Phase.SESSION or code == 421:
        return Whose.ACCOUNT
    enhanced = _ENHANCED.match(text)
    numbers = (int(enhanced[1]), int(enhanced[2])) if enhanced else (0, 0)
    found = _DETAILS.get(numbers) or _SUBJECTS.get(numbers[0])
    words = _ADDRESSES.sub("", text)
    if phase is Phase.RCPT and found is not Whose.NOBODY and _WORDS_OF_RECIPIENT.search(words):
        return Whose.RECIPIENT
    if code in _OF_ACCOUNT:
        return Whose.ACCOUNT
    if phase is Phase.MAIL:
        too_large = code == _TOO_LARGE or found is Whose.MESSAGE
        return Whose.MESSAGE if too_large else Whose.ACCOUNT
    if found in (None, Whose.UNCLEAR) and _WORDS_OF_ACCOUNT.search(words):
        return Whose.ACCOUNT
    return found or _BY_PHASE[phase]
