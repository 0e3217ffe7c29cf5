"""The provider of tests: it hands each message to the test that runs, and waits for nobody."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from notifications.channels import kinds, mail, options
from notifications.channels.base import Message, Provider
from notifications.core.routing import CHANNELS

KIND = "testing"

_takers: list[Callable[[Message], None]] = []


class RecordingProvider(Provider):
    """Takes whatever any provider takes."""

    kind = KIND
    channels = CHANNELS
    option_names = options.ALL
    mail_fields = frozenset(mail.FIELDS)
    waits = False

    def send(self, message: Message) -> str:
        _takers[-1](message)
        return f"testing-{message.id}"


@contextmanager
def to(take: Callable[[Message], None]) -> Iterator[None]:
    """Have messages handed to ``take``, which may raise a ``DeliveryError``."""
    kinds.KINDS[KIND] = f"{__name__}.RecordingProvider"
    _takers.append(take)
    try:
        yield
    finally:
        _takers.remove(take)
        if not _takers:
            del kinds.KINDS[KIND]
