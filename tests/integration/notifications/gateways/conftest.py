"""The account and the mail server of the tests of mails."""

from tests.integration.notifications.mails.conftest import (  # noqa: F401 -- fixtures
    _nothing_remembered,
    account,
)
