"""What Flower's buttons do, and what a caller without a broker gets."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from celery import current_app

from notifications.core.routing import SEND_TASK
from notifications.models import Notification
from notifications.tasks import send_notification
from tests.servers.processes import Processes

SIMULATED: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
WITHOUT_BROKER = """
from celery import chain, chord, group
from notifications.tasks import send_notification

send = send_notification.s(channel="simulator", recipient="ada", body="Hello")
group(send, send).apply_async()
chain(send, send)()
chord([send, send])(send)
send.set(countdown=600).delay().revoke()
"""


def post(address: str, **fields: Any) -> Any:
    """Return the status of a POST, and what it answers; a refusal is a status, too."""
    body = urllib.parse.urlencode(fields).encode()
    try:
        with urllib.request.urlopen(address, data=body, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, {}


def test_flower_cancels_a_send_and_changes_the_rate_limit(
    processes: Processes, wait_until: Callable[..., Any]
) -> None:
    processes.worker("-c", "1", "-n", "one@host")
    _, flower = processes.flower(FLOWER_UNAUTHENTICATED_API="1")
    result = send_notification.apply_async(kwargs=SIMULATED, countdown=600)
    status, _ = post(f"{flower}/api/task/revoke/{result.id}", terminate="true")
    assert (status, result.notification.status) == (200, "cancelled")
    limit = f"{flower}/api/task/rate-limit/{SEND_TASK}"
    wait_until(lambda: post(limit, workername="one@host", ratelimit="7/s")[0] == 200)
    registered = current_app.control.inspect(timeout=10).registered("rate_limit")
    assert f"{SEND_TASK} [rate_limit=7/s]" in registered["one@host"]


def test_a_canvas_is_accepted_and_revoked_while_the_broker_is_away(processes: Processes) -> None:
    env = {"BROKER_URL": "redis://127.0.0.1:1/0"}
    processes.run("shell", "python", "manage.py", "shell", "-v0", "-c", WITHOUT_BROKER, **env)
    statuses = Notification.objects.values_list("status", flat=True)
    assert sorted(statuses) == ["cancelled"] + ["queued"] * 5
