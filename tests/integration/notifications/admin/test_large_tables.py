"""Lists over large tables: never counted, and never a dropdown of all there is."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from unfold.templatetags import unfold_list

from notifications.admin import search
from notifications.models import ArchivedNotification, Notification
from notifications.recipients import spellings

ROWS = 100_000
LISTS = ("notifications_notification", "notifications_faileddelivery", "scheduling_fire")


@pytest.fixture
def much(transactional_db: None) -> None:
    """Many notifications, many schedules with their fires, made by the database itself."""
    every = IntervalSchedule.objects.create(every=1, period="days")
    job = PeriodicTask.objects.create(name="job 0", task="shop.tidy", interval=every)
    first, columns = job.pk, [field.column for field in PeriodicTask._meta.fields]
    copied = ", ".join(column for column in columns if column not in ("id", "name"))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO django_celery_beat_periodictask (id, name, {copied})"
            f" SELECT {first} + n, 'job ' || n, {copied} FROM django_celery_beat_periodictask,"
            " generate_series(1, 19999) AS n"
        )
        cursor.execute(
            "INSERT INTO notifications_notification (id, channel, priority, recipient, locale,"
            " context, subject, body, guarantee, reference, metadata, idempotency_key,"
            " content_hash, status, attempt_count, failover_count, reason, provider, scheduled_at,"
            " sent_at, finished_at) SELECT gen_random_uuid(), 'email', 'low', 'ada@example.org',"
            " '', '{}', '', 'x', 'at_least_once', '', '{}', '', '', 'sent', 1, 0, '', '', now(),"
            f" now(), now() FROM generate_series(1, {ROWS})"
        )
        cursor.execute(
            "INSERT INTO scheduling_fire (id, schedule_id, scheduled_for, fire_at, status, by_hand,"
            " attempt, publishes, worker, error, finished_at) SELECT gen_random_uuid(),"
            f" {first} + n % 20000, now() - n * interval '1 second', now(), 'succeeded', false, 1,"
            f" 1, '', '', now() FROM generate_series(1, {ROWS}) AS n"
        )
        cursor.execute(
            "INSERT INTO scheduling_schedule (periodic_task_id, misfire, misfire_cap,"
            " overlap, jitter_seconds, guarantee, max_retries, retry_backoff_seconds,"
            " catch_up_on_resume, condition, rule, quarantine_reason)"
            " SELECT id, 'latest', 10, 'allow', 0, 'at_least_once', 0, 10, false, '', '', ''"
            " FROM django_celery_beat_periodictask ON CONFLICT DO NOTHING"
        )
        cursor.execute("ANALYZE")


def test_no_list_counts_or_walks_a_large_table(boss: Client, much: None) -> None:
    for name in LISTS:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert boss.get(reverse(f"admin:{name}_changelist")).status_code == 200
        statements = [query["sql"] for query in asked]
        assert not [sql for sql in statements if "COUNT(" in sql.upper()], name
        for sql in statements:
            if sql.startswith("SELECT") and name in sql:
                assert walked(sql) < 5_000, sql


def test_a_page_makes_its_headers_once_and_reads_no_contents(
    boss: Client, accepted: Callable[..., Notification], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        accepted(body="long" * 1000)
    made: list[str] = []
    labelled = unfold_list.label_for_field

    def label_for_field(name: str, *args: Any, **options: Any) -> Any:
        made.append(name)
        return labelled(name, *args, **options)

    monkeypatch.setattr(unfold_list, "label_for_field", label_for_field)
    with CaptureQueriesContext(connection) as asked:
        page = boss.get(reverse("admin:notifications_notification_changelist"))
    assert page.status_code == 200
    assert page.content.count(b"/notification/0") >= 3
    assert len(made) == len({*made})
    (rows,) = [
        q["sql"] for q in asked if 'ORDER BY "notifications_notification"."id" DESC' in q["sql"]
    ]
    assert '"body"' not in rows
    assert '"compiled"' not in rows


def test_a_cause_and_a_schedules_fires_are_found_by_an_index(
    boss: Client, much: None, dead: Callable[..., Any]
) -> None:
    letter = dead()
    for name, term in (
        ("notifications_faileddelivery", letter.fingerprint),
        ("scheduling_fire", "job 17"),
        ("scheduling_fire", str(uuid4())),
    ):
        with CaptureQueriesContext(connection) as asked:
            page = boss.get(reverse(f"admin:{name}_changelist"), {"q": term})
        assert page.status_code == 200
        assert not [query["sql"] for query in asked if "UPPER(" in query["sql"]], name
    where = reverse("admin:notifications_faileddelivery_changelist")
    row = f"/faileddelivery/{letter.pk}/change/"
    assert row in boss.get(where, {"q": letter.fingerprint.upper()}).content.decode()
    assert row not in boss.get(where, {"q": "f" * 32}).content.decode()


def test_a_recipient_is_found_by_an_index_in_any_letter_case(much: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notifications_notification SET recipient = 'Ada.King@example.org' WHERE id ="
            " (SELECT id FROM notifications_notification LIMIT 1)"
        )
    for table in (Notification, ArchivedNotification):
        with CaptureQueriesContext(connection) as asked:
            found = spellings.kept(table, "ada.king@EXAMPLE.org")
        (query,) = asked
        assert ("Ada.King@example.org" in found) is (table is Notification)
        assert walked(query["sql"]) < 100
    with CaptureQueriesContext(connection) as asked:
        assert len(search.find(Notification.objects.all(), "ada.king@EXAMPLE.org")) == 1
    assert max(walked(query["sql"]) for query in asked) < 100


def test_a_page_of_twenty_thousand_schedules_reads_one_page(boss: Client, much: None) -> None:
    url = reverse("admin:django_celery_beat_periodictask_changelist")
    with CaptureQueriesContext(connection) as asked:
        page = boss.get(url)
    assert page.status_code == 200
    assert len(asked) < 15
    form = boss.get(reverse("admin:django_celery_beat_periodictask_add"))
    assert form.content.decode().count("<option") < 150


def walked(sql: Any) -> Any:
    """How many rows the database reads to answer this."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0][0]["Plan"]
    return _rows(plan)


def _rows(node: Any) -> Any:
    below = [_rows(child) for child in node.get("Plans", ())]
    return max([node["Actual Rows"] * node["Actual Loops"], *below])
