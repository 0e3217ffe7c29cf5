"""The archive: what retention takes from the live table is kept by month, and goes by month."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from celery.result import AsyncResult
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications.maintenance import archive, retention
from notifications.models import (
    ArchivedNotification,
    Attempt,
    FailedDelivery,
    Notification,
    Status,
)
from notifications.operations import api_keys
from notifications.submission import send_many, submit
from notifications.tasks import send_notification
from tests.integration.notifications.conftest import SIMULATED
from tests.multiply import multiply

on_postgres = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="partitions are Postgres'"
)


@pytest.fixture(autouse=True)
def _no_month_yet(transactional_db: None) -> None:
    """Partitions outlive the emptying of tables: those of the test before go."""
    archive.drop(keep_months=-1)


@pytest.fixture
def archiving(set_: Callable[..., None]) -> None:
    """The archive is on, for a year."""
    set_("ARCHIVE_MONTHS", 12)


@pytest.fixture
def finished(
    accepted: Callable[..., Notification], deliver: Callable[..., Any]
) -> Callable[..., Any]:
    """A notification that ended at a moment, or so many days ago; keywords change it."""

    def finished(when: datetime | float, **changes: Any) -> Any:
        row = accepted(**changes)
        deliver(row)
        ended = when if isinstance(when, datetime) else timezone.now() - timedelta(days=when)
        Notification.objects.filter(id=row.id).update(finished_at=ended)
        FailedDelivery.objects.filter(notification_id=row.id).update(created_at=ended)
        row.refresh_from_db()
        return row

    return finished


@pytest.fixture
def seen(client: Client, transactional_db: None) -> Callable[..., Any]:
    """What the API answers to a path, as JSON."""
    token = api_keys.create("reader", scopes=["read"]).token

    def seen(path: Any, **query: Any) -> Any:
        answer = client.get(
            f"/api/v1{path}", query_params=query, headers={"Authorization": f"Bearer {token}"}
        )
        return answer.json()

    return seen


def first_of_the_month(months_ago: int) -> datetime:
    now = timezone.now()
    month = now.year * 12 + now.month - 1 - months_ago
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)


def archived() -> set[UUID]:
    return set(ArchivedNotification.objects.values_list("id", flat=True))


def test_without_an_archive_what_is_old_is_deleted(finished: Callable[..., Any]) -> None:
    finished(31)
    assert retention.prune(days=30) == 1
    assert not Notification.objects.exists()
    assert not ArchivedNotification.objects.exists()


@pytest.mark.usefixtures("archiving")
def test_the_result_of_what_is_in_the_archive_is_its_true_state(
    finished: Callable[..., Any],
) -> None:
    ends = {"sent": "SUCCESS", "permanent": "FAILURE"}
    ids = {end: str(finished(31, recipient=f"ada?result={end}").id) for end in ends}
    FailedDelivery.objects.all().delete()  # an open one keeps its notification
    assert retention.prune(days=30) == 2
    assert not Notification.objects.exists()
    for end, state in ends.items():
        assert AsyncResult(ids[end]).state == state
        assert send_notification.AsyncResult(ids[end]).state == state
    assert send_notification.AsyncResult(ids["sent"]).get(timeout=5) == ids["sent"]
    assert AsyncResult("nobody's").state == "PENDING"


@pytest.mark.usefixtures("archiving")
def test_what_leaves_is_kept_as_it_was_with_its_attempts(finished: Callable[..., Any]) -> None:
    row = finished(
        31,
        recipient="ada?result=sent&code=250",
        subject="Ciao",
        reference="order 7",
        metadata={"shop": "Bari"},
        retry={"max_attempts": 3},
        idempotency_key="only once",
    )
    tried = list(row.attempts.values())
    young = finished(29)
    assert retention.prune(days=30) == 1
    assert set(Notification.objects.values_list("id", flat=True)) == {young.id}
    assert not Attempt.objects.filter(notification_id=row.id).exists()
    kept = ArchivedNotification.objects.get(id=row.id)
    for field in Notification._meta.concrete_fields:
        assert getattr(kept, field.attname) == getattr(row, field.attname), field.name
    assert len(tried) == 1
    assert [
        {name: value for name, value in vars(attempt).items() if name not in ("id", "_state")}
        for attempt in kept.tries()
    ] == [{name: value for name, value in attempt.items() if name != "id"} for attempt in tried]


@pytest.mark.usefixtures("archiving")
def test_a_dead_letter_and_its_notification_come_when_both_leave(
    finished: Callable[..., Any],
) -> None:
    row = finished(200, recipient="ada?result=permanent")
    assert retention.prune(days=30, failed_days=180) == 1
    assert archived() == {row.id}
    assert not FailedDelivery.objects.exists()


@pytest.mark.usefixtures("archiving")
def test_what_is_older_than_the_archive_reaches_is_deleted(finished: Callable[..., Any]) -> None:
    finished(first_of_the_month(12) - timedelta(seconds=1))
    oldest = finished(first_of_the_month(12))
    assert retention.prune(days=30) == 2
    assert archived() == {oldest.id}


def test_old_months_go_and_the_others_stay(
    finished: Callable[..., Any], set_: Callable[..., None]
) -> None:
    set_("ARCHIVE_MONTHS", 12)
    times = [first_of_the_month(n) for n in (12, 7, 2)]
    rows = [finished(when) for when in times]
    retention.prune(days=1)
    assert archived() == {row.id for row in rows}
    assert archive.drop() == 0
    set_("ARCHIVE_MONTHS", 7)
    assert archive.drop() == 1
    assert archived() == {row.id for row in rows[1:]}
    assert archive.drop(keep_months=0) == 2
    assert not archived()


@pytest.mark.usefixtures("archiving")
def test_an_idle_scheduler_lets_old_months_go(
    finished: Callable[..., Any], set_: Callable[..., None]
) -> None:
    finished(first_of_the_month(7))
    assert retention.tick() == retention.BUSY
    set_("ARCHIVE_MONTHS", 6)
    assert retention.tick() == retention.IDLE
    assert not archived()


@pytest.mark.usefixtures("archiving")
def test_an_id_may_come_again_when_the_first_left(
    finished: Callable[..., Any],
    deliver: Callable[..., Any],
    seen: Callable[..., Any],
    client: Client,
) -> None:
    first = finished(100, reference="first")
    retention.prune(days=30)
    second = submit({**SIMULATED, "reference": "second"}, id_=first.id).notification
    deliver(second)
    Notification.objects.update(finished_at=timezone.now() - timedelta(days=40))
    retention.prune(days=30)
    assert second.id == first.id
    assert seen(f"/notifications/{first.id}")["reference"] == "second"
    client.force_login(User.objects.create_superuser("boss", password="secret"))
    page = client.get(f"/admin/notifications/archivednotification/{first.id}/change/")
    assert "second" in page.content.decode()


@pytest.mark.usefixtures("archiving")
def test_the_command_archives_and_drops(
    finished: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    finished(first_of_the_month(3))
    call_command("prune", "--days", "1", "--no-input")
    assert "Archived 1 notification." in capsys.readouterr().out
    call_command("prune", "--archive-months", "2", "--no-input")
    assert "Months of the archive that were dropped: 1." in capsys.readouterr().out
    assert not archived()


@on_postgres
@pytest.mark.usefixtures("archiving")
def test_each_month_is_a_partition_that_goes_at_once(finished: Callable[..., Any]) -> None:
    for months in (2, 2, 5):
        finished(first_of_the_month(months) + timedelta(days=3))
    retention.prune(days=1)
    names = sorted(
        f"notifications_archivednotification_{first_of_the_month(n):%Y_%m}" for n in (5, 2)
    )
    assert archive._partitions() == names
    with CaptureQueriesContext(connection) as captured:
        assert archive.drop(keep_months=3) == 1
    assert f"DROP TABLE IF EXISTS {names[0]}" in [q["sql"] for q in captured.captured_queries]
    assert archive._partitions() == names[1:]


@on_postgres
@pytest.mark.usefixtures("archiving")
def test_who_reads_the_archive_keeps_its_months_and_nobody_waits_for_him(
    finished: Callable[..., Any],
) -> None:
    finished(first_of_the_month(5))
    retention.prune(days=1)
    later = finished(first_of_the_month(3))
    reading, done = threading.Event(), threading.Event()

    def read() -> None:
        with transaction.atomic():
            archived()
            reading.set()
            done.wait(30)
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert reading.wait(10)
        assert retention.prune(days=1) == 1
        assert archive.drop(keep_months=1) == 0
        assert reader.is_alive()
    finally:
        done.set()
        reader.join()
    assert later.id in archived()
    assert archive.drop(keep_months=1) == 2


@on_postgres
@pytest.mark.usefixtures("archiving")
def test_several_share_the_work_and_each_row_comes_once(
    finished: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 50)
    first = finished(100)
    multiply(first, 1999, timedelta(minutes=40))  # over nearly two months
    left: list[int] = []

    def prune() -> None:
        left.append(retention.prune(days=30))
        connection.close()

    together = [threading.Thread(target=prune) for _ in range(4)]
    for row in together:
        row.start()
    for row in together:
        row.join()
    assert sum(left) == ArchivedNotification.objects.count()
    assert sum(left) + Notification.objects.count() == 2000
    assert not Notification.objects.filter(
        finished_at__lt=timezone.now() - timedelta(days=30)
    ).exists()
    assert len(archived()) == sum(left)


@pytest.mark.usefixtures("archiving")
def test_the_api_gives_an_archived_one_with_its_story(
    finished: Callable[..., Any], seen: Callable[..., Any]
) -> None:
    row = finished(31, reference="order 7")
    before = seen(f"/notifications/{row.id}")
    retention.prune(days=30)
    after = seen(f"/notifications/{row.id}")
    assert (before["archived"], after["archived"]) == (False, True)
    assert {**after, "archived": False} == before


@pytest.mark.usefixtures("archiving")
def test_the_api_lists_the_archive_when_it_is_asked_to(
    finished: Callable[..., Any], seen: Callable[..., Any]
) -> None:
    old, new = finished(70, reference="order 7"), finished(40, reference="order 7")
    retention.prune(days=30)
    finished(1, reference="order 7")
    asked = {"reference": "order 7", "archived": "true", "limit": 1}
    page = seen("/notifications", **asked)
    assert [item["id"] for item in page["items"]] == [str(new.id)]
    page = seen("/notifications", **asked, cursor=page["next_cursor"])
    assert [item["id"] for item in page["items"]] == [str(old.id)]
    assert page["next_cursor"] is None


@pytest.mark.usefixtures("archiving")
def test_what_left_is_not_cancelled(finished: Callable[..., Any], client: Client) -> None:
    row = finished(31)
    retention.prune(days=30)
    token = api_keys.create("sender", scopes=["send"]).token
    answer = client.post(
        f"/api/v1/notifications/{row.id}/cancel", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 404


@pytest.mark.usefixtures("archiving")
@pytest.mark.parametrize("field", ["id", "recipient", "reference", "idempotency_key"])
def test_the_admin_finds_an_archived_one_and_tells_its_story(
    client: Client, finished: Callable[..., Any], field: str
) -> None:
    client.force_login(User.objects.create_superuser("boss", password="secret"))
    row = finished(
        31, recipient="ada", reference="order 7", idempotency_key="only once", body="Buongiorno"
    )
    finished(31, recipient="bob")
    retention.prune(days=30)
    found = client.get(
        "/admin/notifications/archivednotification/", {"q": str(getattr(row, field))}
    )
    assert [row.id for row in found.context["cl"].result_list] == [row.id]
    page = client.get(f"/admin/notifications/archivednotification/{row.id}/change/")
    text = page.content.decode()
    assert "accepted by the provider" in text
    assert "Buongiorno" in text


@pytest.mark.usefixtures("archiving")
def test_a_batch_is_archived_with_the_batch_it_came_in(
    transactional_db: None, deliver: Callable[..., Any]
) -> None:
    sent = send_many([SIMULATED] * 3)
    rows = list(Notification.objects.all())
    deliver(*rows)
    Notification.objects.update(finished_at=timezone.now() - timedelta(days=31))
    assert retention.prune(days=30) == 3
    assert set(ArchivedNotification.objects.values_list("batch_id", "status")) == {
        (sent.batch.id, Status.SENT)
    }
