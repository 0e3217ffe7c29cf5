"""The fixtures of the channels serve here, too."""

from tests.integration.channels.conftest import (
    _nothing_remembered,
    account,
    deliver,
    in_threads,
    message,
    peer,
    provider,
    text,
)

__all__ = [
    "_nothing_remembered",
    "account",
    "deliver",
    "in_threads",
    "message",
    "peer",
    "provider",
    "text",
]
