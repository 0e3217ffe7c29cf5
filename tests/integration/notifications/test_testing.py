"""``notifications.testing``: what a project's own tests rely on."""

from datetime import datetime, timedelta
from itertools import accumulate, cycle

import pytest

from notifications.db import clock
from notifications.errors import TransientError
from notifications.submission import send
from notifications.testing import sent_notifications
from scheduling.clock import database_now


@pytest.mark.django_db
def test_advance_reaches_a_retry_though_each_look_at_the_clock_finds_less_time_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = accumulate(cycle([5] * 12 + [0] * 4))  # ms: after a dozen looks it stands for a moment

    def behind() -> datetime:
        return database_now() - timedelta(milliseconds=next(lost))

    monkeypatch.setattr(clock, "database_now", behind)
    with sent_notifications() as sent:
        sent.fail(TransientError("busy", code="451"), times=3)
        send(channel="sms", recipient="+436641234567", body="4711")
        assert len(sent) == 0
        sent.advance(hours=1)
        assert [message.text for message in sent] == ["4711"]
        assert sent[0].notification.attempt_count == 4
