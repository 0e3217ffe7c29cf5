"""The fixtures of the providers serve here, too."""

from tests.integration.notifications.providers.conftest import (
    _nothing_remembered,
    account,
    deliver,
    in_threads,
    message,
    text,
)

__all__ = [
    "_nothing_remembered",
    "account",
    "deliver",
    "in_threads",
    "message",
    "text",
]
