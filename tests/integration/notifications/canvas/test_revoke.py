"""A notification that is revoked is cancelled, by whichever way Celery has for it."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from celery import chain, current_app, group
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from notifications.delivery import claims
from notifications.models import Notification, Status
from notifications.tasks import send_notification
from tests.integration.notifications.canvas import tasks
from tests.servers.processes import Processes

SIMULATED: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}


def later(**options: Any) -> Any:
    return send_notification.apply_async(kwargs=SIMULATED, countdown=600, **options)


def statuses(*results: Any) -> list[Any]:
    rows = Notification.objects.in_bulk([result.id for result in results])
    return [str(row.status) for row in rows.values()]


@pytest.mark.parametrize("terminate", [False, True])
def test_revoke_cancels_what_no_worker_has(transactional_db: None, terminate: bool) -> None:
    results = [later() for _ in range(4)]
    results[0].revoke(terminate=terminate)
    AsyncResult(results[1].id).revoke(terminate=terminate)
    current_app.control.revoke([results[2].id, results[3].id], terminate=terminate)
    assert statuses(*results) == ["cancelled"] * 4
    assert results[0].state == AsyncResult(results[1].id).state == "REVOKED"
    with pytest.raises(TaskRevokedError):
        results[0].get(timeout=1)


def test_a_group_is_revoked_whole(transactional_db: None) -> None:
    result = group(send_notification.s(**SIMULATED).set(countdown=600) for _ in range(3))()
    result.revoke()
    assert statuses(*result.results) == ["cancelled"] * 3


def test_an_id_of_ones_own_is_revoked(transactional_db: None) -> None:
    result = later(task_id="order-7")
    current_app.control.revoke("order-7")
    assert AsyncResult("order-7").state == "REVOKED"
    assert statuses(result) == ["cancelled"]


def test_what_is_being_sent_is_not_called_back(transactional_db: None) -> None:
    result = send_notification.delay(**SIMULATED)
    claims.claim([result.notification.id])
    result.revoke(terminate=True)
    assert statuses(result) == ["sending"]


def test_workers_cancel_what_a_broadcast_revokes(
    processes: Processes, wait_until: Callable[..., Any], redis_client: redis.Redis
) -> None:
    """As ``celery control revoke`` does, and applications with a Celery app of their own."""
    processes.worker("-c", "1", "-I", tasks.__name__)
    # A worker subscribes to broadcasts a moment after it says that it is ready.
    wait_until(lambda: current_app.control.ping(timeout=1, limit=1))
    result = later()
    current_app.control.broadcast("revoke", {"task_id": [result.id], "terminate": False})
    wait_until(lambda: result.notification.status == Status.CANCELLED)
    # A later member of a chain has no row yet; it never gets one.
    chained = chain(
        send_notification.s(**SIMULATED).set(countdown=600),
        send_notification.s(**SIMULATED, reference="second"),
        tasks.note.s(what="third"),
    )()
    second = chained.parent
    current_app.control.revoke(second.id)
    wait_until(lambda: second.state == "REVOKED")
    Notification.objects.filter(id=second.parent.id).update(due_at="2020-01-01T00:00:00Z")
    processes.beat()
    wait_until(lambda: second.parent.state == "SUCCESS")
    wait_until(lambda: not Notification.objects.filter(continuation__isnull=False).exists())
    assert not Notification.objects.filter(reference="second").exists()
    assert chained.state == "REVOKED"
    assert tasks.calls(redis_client) == []
