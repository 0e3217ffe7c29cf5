"""A message that kills the workers that try it, beside others."""

from collections.abc import Callable
from typing import Any

from notifications.core.retry import SUSPECT_AFTER
from notifications.models import AccountRule, Notification, ProviderAccount, Status
from notifications.submission import send
from tests.servers.processes import Processes


def test_a_message_that_kills_workers_takes_no_other_along(
    processes: Processes, wait_until: Callable[..., Any]
) -> None:
    simulated = {"channel": "sms", "kind": "simulator"}
    ProviderAccount.objects.create(name="good", **simulated)
    bad = ProviderAccount.objects.create(
        name="bad", settings={"behaviour": "result=crash"}, **simulated
    )
    AccountRule.objects.create(account=bad, country_prefix="+43")
    common: dict[str, Any] = {
        "channel": "sms",
        "body": "Hello",
        "priority": "high",
        "retry": {"base": 0.1},
    }
    poison = send(recipient="+436641234567", **common)
    others = [send(recipient=f"+1500555{n:04}", **common).id for n in range(20)]
    processes.env |= {
        "NOTIFICATIONS_LEASE": "4",
        "NOTIFICATIONS_PROVIDER_TIMEOUT": "0.5",
        "NOTIFICATIONS_BATCH_TIME_LIMIT": "0.5",
    }
    processes.beat()
    processes.worker("-c", "1")
    wait_until(lambda: poison.attempts.filter(code="lease_expired").count() > SUSPECT_AFTER)
    wait_until(lambda: Notification.objects.filter(id__in=others, status=Status.SENT).count() == 20)
