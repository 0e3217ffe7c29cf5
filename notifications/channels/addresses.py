"""Mail addresses in one form (RFC 5321, RFC 6531), whoever spells them.

An address is kept as a person reads it, with the domain in lower case and in letters
(``ada@bücher.example``), and its name in quotes only where it needs them (RFC 5321, 4.1.2), so that
suppressions, limits and keys see one form. ``wire`` makes of it what servers are told: the domain's
A-label (IDNA 2008, mapped by UTS 46).
"""

import ipaddress
import re
import unicodedata
from email.utils import quote
from functools import lru_cache
from typing import NamedTuple

import idna

from notifications.channels import invisible

LONGEST_ADDRESS = 254  # octets on the wire (RFC 5321, 4.5.3.1.3, without the angle brackets)
LONGEST_LOCAL = 64  # octets (RFC 5321, 4.5.3.1.1)
_BLANK = "It holds a blank, and an address has none, nor text after it."

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PLAIN = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*@(?:(?:{_LABEL}\.)+(?!\d+$){_LABEL}|localhost)")
_ATOM = re.compile(r"[^\x00-\x20\x7f\"(),:;<>@\[\\\].]+")  # what is not ASCII belongs to it, too
# What could begin another header, and what no octets stand for.
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_DOMAIN = re.compile(rf"(?:(?:{_LABEL}\.)+(?!\d+$){_LABEL}|localhost)")
# Keyboards for Chinese, Japanese and Korean write ASCII so, the @ too.
_FULL_WIDTH = {0xFF01 + place: 0x21 + place for place in range(94)}
_FULL_WIDTH_BRACKETS = {code: char for code, char in _FULL_WIDTH.items() if chr(char) in "<>"}
_JOINERS = "\u200c\u200d"  # IDNA decides where a domain may have them


class BadAddress(ValueError):
    """It is not one mail address; the text says why, and shows nothing but code points."""


def canonical(text: str) -> str:
    """Return one bare address in the form in which it is kept. Raises ``BadAddress``."""
    address = invisible.trimmed(text)
    if not address.isascii():
        address = address.translate(_FULL_WIDTH)
    local, at, domain = address.rpartition("@")
    lowered = f"{local}@{domain.lower()}" if at else address
    if _PLAIN.fullmatch(lowered) and "xn--" not in lowered:
        kept = lowered
    else:
        if not (at and local and domain):
            raise BadAddress("It has no name or no domain around an @.")
        kept = f"{_local(local)}@{_domain(domain)}"
    if len(kept) > LONGEST_LOCAL or not kept.isascii():
        _check_lengths(kept)
    return kept


def quoted(address: str) -> str:
    """Return a kept address with its name in quotes, as some were kept before the form lost them.

    An address whose name needs its quotes is returned as it is.
    """
    local, _, domain = address.rpartition("@")
    return address if _QUOTED.fullmatch(local) else f'"{local}"@{domain}'


def wire(address: str) -> str:
    """Return an address as servers are told it: the domain in ASCII; the name as it is.

    Takes also what was kept before addresses had one form. Raises ``BadAddress``.
    """
    if address.isascii():
        return address
    local, _, domain = address.rpartition("@")
    return f"{local}@{_a_labels(domain)}"


def needs_smtputf8(wired: str) -> bool:
    """Return whether a server must speak SMTPUTF8 (RFC 6531) for an address from ``wire``."""
    return not wired.isascii()


class Mailbox(NamedTuple):
    """A name, perhaps empty, and an address in the form in which it is kept."""

    name: str
    address: str


class Sender(NamedTuple):
    """Who a mail is from: a name, perhaps empty, and an address as it goes to servers."""

    name: str
    address: str


def mailbox(text: str) -> Mailbox:
    """Read ``Shop, Inc. <shop@shop.example>``, where the name needs no quotes, or an address.

    Raises ``BadAddress``.
    """
    given = invisible.trimmed(text)
    if "<" not in given and not given.isascii():
        given = given.translate(_FULL_WIDTH_BRACKETS)
    if _BREAKS.search(given):
        raise BadAddress("It holds a line break or a control character.")
    name, bracket, rest = given.rpartition("<")
    address, closing, after = rest.partition(">")
    if bracket and (not closing or after.strip()):
        raise BadAddress("It must look like Shop <shop@example.org>.")
    name = _unquoted(name.strip()) if bracket else ""
    if "<" in name or ">" in name:
        raise BadAddress("Its name holds < or >.")
    return Mailbox(name, canonical(address if bracket else given))


def written(box: Mailbox) -> str:
    """Write a name and an address in the form that ``mailbox`` reads."""
    return f"{box.name} <{box.address}>" if box.name else box.address


@lru_cache(maxsize=1000)
def sender(text: str) -> Sender:
    """Read a sender, as ``mailbox`` does.

    Raises ``BadAddress``, also for a name before the @ that is not ASCII: few servers could
    bring a bounce there.
    """
    box = mailbox(text)
    wired = wire(box.address)
    if needs_smtputf8(wired):
        raise BadAddress("The name before the @ must be ASCII.")
    return Sender(box.name, wired)


def _unquoted(name: str) -> str:
    if len(name) >= 2 and name[0] == name[-1] == '"':
        return re.sub(r"\\(.)", r"\1", name[1:-1])
    return name


def phrase(name: str) -> str:
    """Write an ASCII name so that it can stand in a header: quoted where RFC 5322 asks for it."""
    return name if re.fullmatch(rf"{_ATEXT}+(?: {_ATEXT}+)*", name) else f'"{quote(name)}"'


def _local(local: str) -> str:
    is_quoted = _QUOTED.fullmatch(local) is not None
    if "@" in local and not is_quoted:
        raise BadAddress("It holds more than one @, and a notification goes to one address.")
    name = unicodedata.normalize("NFC", _unquoted(local) if is_quoted else local)
    _refuse_hidden(name)
    if " " in name and not is_quoted:
        raise BadAddress(_BLANK)
    if all(map(_ATOM.fullmatch, name.split("."))):
        return name
    if not is_quoted:
        raise BadAddress("The name before the @ has an empty part, or needs quotes.")
    return f'"{quote(name)}"'


def _refuse_hidden(part: str, allowed: str = "") -> None:
    """Refuse what nobody sees; of a plain blank people know."""
    hidden = invisible.first_hidden(part, allowed=f" {allowed}")
    if hidden:
        raise BadAddress(f"It holds {invisible.named(hidden)}, a character that cannot be seen.")


def _domain(domain: str) -> str:
    if domain.startswith("[") and domain.endswith("]"):
        return _literal(domain[1:-1])
    _refuse_hidden(domain, allowed=_JOINERS)
    if " " in domain:
        raise BadAddress(_BLANK)
    wired = _a_labels(domain)
    try:
        shown = idna.decode(wired)
    except idna.IDNAError:  # older rules allowed it: the name exists, but has no letters
        shown = wired
    return shown


def _a_labels(domain: str) -> str:
    lowered = domain.lower()
    if not (lowered.isascii() and _DOMAIN.fullmatch(lowered)):
        try:
            lowered = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
        except idna.IDNAError as error:
            raise BadAddress("The domain is not one that IDNA 2008 allows.") from error
        if not _DOMAIN.fullmatch(lowered):
            raise BadAddress(
                "The domain needs at least two parts, and the last must not be a number."
            )
    return lowered


def _literal(inner: str) -> str:
    """Accept an address literal (RFC 5321, 4.1.3)."""
    version, colon, number = inner.partition(":")
    try:
        if colon and version.upper() == "IPV6":
            return f"[IPv6:{ipaddress.IPv6Address(number)}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise BadAddress("Between brackets must stand an IP address: [192.0.2.1].") from None


def _check_lengths(kept: str) -> None:
    wired = wire(kept)
    if len(wired.encode()) > LONGEST_ADDRESS:
        raise BadAddress(f"It is longer than {LONGEST_ADDRESS} bytes.")
    if len(wired.rpartition("@")[0].encode()) > LONGEST_LOCAL:
        raise BadAddress(f"The name before the @ is longer than {LONGEST_LOCAL} bytes.")
