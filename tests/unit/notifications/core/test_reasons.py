"""The words for why a notification is in its state."""

import re
from pathlib import Path

from notifications.core import reasons
from notifications.core.reasons import Reason
from notifications.models import Suppression

PAGE = Path(__file__).resolve().parents[4] / "docs" / "operating.md"
NOT_OF_FAILURES = {
    *reasons.DEFERRED,
    *Suppression.Reason.values,
    *reasons.CHOSEN,
    *(Reason.WINDOW_CLOSED, Reason.OTHER_CHANNEL, Reason.CHAIN_REACHED, Reason.CHAIN_WAITS),
    *(Reason.DIGEST_EMPTY, Reason.THROTTLED),
    *(Reason.EXPIRED, Reason.EXPIRES_BEFORE_RETRY, Reason.EXPIRES_BEFORE_SLOT),
    *(Reason.CANCELLED, Reason.BATCH_CANCELLED, Reason.BATCH_PAUSED, Reason.HELD, Reason.DELAYED),
}


def test_the_page_for_operators_has_a_cure_for_each_reason_of_a_failed_delivery() -> None:
    _, _, table = PAGE.read_text().partition("| reason | meaning | cure |\n|---|---|---|\n")
    rows, _, _ = table.partition("\n\n")
    named = [
        word for row in rows.splitlines() for word in re.findall(r"`(\w+)`", row.split("|")[1])
    ]
    assert sorted(named) == sorted(set(Reason) - NOT_OF_FAILURES)
