"""The one guard of outgoing connections: which address a name leads to, and whether we may go.

A name is resolved once, all of its addresses are checked, and one that was checked is connected to:
a name that changes in between (DNS rebinding) gains nothing.
"""

import socket
import time
from collections.abc import Callable
from enum import Enum
from ipaddress import ip_address, ip_network
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Thread
from typing import TypeVar

from django.conf import settings

from notifications.channels.special_addresses import is_public

Connected = TypeVar("Connected")


class Reach(Enum):
    """Who chose the address, and so where it may lead."""

    RECIPIENT = "recipient"  # anybody: to the public internet
    ACCOUNT = "account"  # an administrator: also to OUTGOING_PRIVATE_HOSTS
    SETTINGS = "settings"  # who deploys the system: anywhere


class UnknownHost(OSError):
    """The name servers know no address of a host."""


class NoNameServer(UnknownHost):
    """No name server has answered whether there is such a host."""


class AddressRefused(OSError):
    """The name leads where its chooser may not send us; the text names it."""


# Lookups at once. The library waits for a silent name server as long as it likes, so each has a
# thread, which ends with it; a recipient's silent servers take none from the accounts' lookups.
_SLOTS = {
    Reach.RECIPIENT: BoundedSemaphore(16),
    Reach.ACCOUNT: BoundedSemaphore(8),
    Reach.SETTINGS: BoundedSemaphore(4),
}


def addresses(host: str, port: int, deadline: float, reach: Reach) -> list[str]:
    """Return the addresses of a host, none that must not be reached.

    ``deadline`` is of ``time.monotonic``. Raises ``AddressRefused``, ``TimeoutError``, and
    ``OSError`` where the name has no address.
    """
    ips = _looked_up(host, port, deadline, reach)
    if not _is_free(host, reach) and not all(is_public(ip) or _is_free(ip, reach) for ip in ips):
        raise AddressRefused(
            f"{host} is a private address"
            + ("; see OUTGOING_PRIVATE_HOSTS." if reach is Reach.ACCOUNT else "")
        )
    return ips


def first_that_answers(
    ips: list[str], connect: Callable[[str], Connected], error: type[Exception] = OSError
) -> Connected:
    """Connect to one address after the other; raise what the last raised."""
    for address in ips[:-1]:
        try:
            return connect(address)
        except error:
            continue
    return connect(ips[-1])


def _looked_up(host: str, port: int, deadline: float, reach: Reach) -> list[str]:
    try:
        return [str(ip_address(host.strip("[]")))]
    except ValueError:
        answer: SimpleQueue[list[str] | OSError | UnicodeError] = SimpleQueue()
    slots = _SLOTS[reach]
    if not slots.acquire(timeout=max(deadline - time.monotonic(), 0)):
        raise TimeoutError("Too many lookups wait for silent name servers.")

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.put([str(info[4][0]) for info in infos])
        except (OSError, UnicodeError) as error:
            answer.put(error)
        finally:
            slots.release()

    try:
        Thread(target=look_up, name="name lookup", daemon=True).start()
    except RuntimeError:
        slots.release()
        raise
    try:
        answered = answer.get(timeout=max(deadline - time.monotonic(), 0))
    except Empty:
        raise TimeoutError(f"The name servers of {host} do not answer.") from None
    if isinstance(answered, Exception):
        is_unanswered = getattr(answered, "errno", None) == socket.EAI_AGAIN
        kind = NoNameServer if is_unanswered else UnknownHost
        raise kind(f"{host} cannot be resolved") from answered
    return answered


def _is_free(host: str, reach: Reach) -> bool:
    """Return whether a host or an address is exempt, so that it may be private."""
    if reach is Reach.SETTINGS or settings.WEBHOOK_ALLOW_PRIVATE_ADDRESSES:
        return True
    return reach is Reach.ACCOUNT and any(
        _matches(host.lower(), allowed.lower()) for allowed in settings.OUTGOING_PRIVATE_HOSTS
    )


def _matches(host: str, allowed: str) -> bool:
    if host == allowed:
        return True
    try:
        return ip_address(host.partition("%")[0]) in ip_network(allowed)
    except ValueError:
        return False
