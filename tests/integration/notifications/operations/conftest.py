"""The accounts of the providers serve here, too."""

from tests.integration.notifications.providers.conftest import (
    account,
)

__all__ = [
    "account",
]
