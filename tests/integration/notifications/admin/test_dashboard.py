"""The first page: what happens now, without an outside request."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from notifications.admin import live_stream
from notifications.db import clock
from notifications.models import MinuteCount, Notification
from notifications.monitoring import throughput
from notifications.queueing import allocation

DASHBOARDS = Path(__file__).parents[4] / "deploy" / "grafana" / "dashboards"


@pytest.fixture(autouse=True)
def _no_minute_is_remembered() -> None:
    throughput.forget()


def test_the_first_page_shows_flow_queues_providers_and_troubles(
    boss: Client,
    accepted: Callable[..., Notification],
    deliver: Callable[..., Any],
    age: Callable[..., None],
    dead: Callable[..., Any],
) -> None:
    deliver(accepted(priority="high"))
    dead()
    age(accepted(priority="low"), 600)
    page = boss.get("/admin/").content.decode()
    for words in (
        *("Accepted per minute", "Sent per minute", "Failed per minute", "simulator.low"),
        *("No scheduler is alive", "1 failed delivery is open", "A notification of"),
    ):
        assert words in page
    for words in ("1 failed delivery is open", "A notification of simulator.low waits for \\d+ s"):
        assert re.search(rf"{words}\. Since \d{{4}}-\d\d-\d\d \d\d:\d\d \w+ \(\d+", page)
    charts = {chart.title: chart.total for chart in boss.get("/admin/").context["charts"]}
    assert charts == {"Accepted": 3, "Sent": 1, "Failed": 1}


def test_a_project_without_unfolds_setting_has_the_same_first_page(
    boss: Client, dead: Callable[..., Any], settings: Any
) -> None:
    settings.UNFOLD = {}
    dead()
    shown = boss.get("/admin/")
    page = shown.content.decode()
    assert "1 failed delivery is open" in page
    assert "All is well" not in page
    assert [chart.title for chart in shown.context["charts"]] == ["Accepted", "Sent", "Failed"]
    for address in ("/find/", "/send/", "/outbox/", "/personal-data/"):
        assert f'href="{address}"' in page  # no menu leads there
    for file in ("admin.css", "admin.js"):
        assert page.count(f"notifications/{file}") == 1


def test_the_first_page_shows_each_queues_weight_and_share(
    boss: Client, took: Callable[..., None]
) -> None:
    took({"simulator.low": (3.0, 6), "simulator.high": (1.0, 10)})
    allocation.override("simulator.low", 3)
    lines = {line.queue.name: line.queue for line in boss.get("/admin/").context["lines"]}
    assert lines["simulator.low"].allocation.share == 0.75
    page = " ".join(boss.get("/dashboard/live/").content.decode().split())
    assert "75%" in page
    assert "3 (operator)" in page


def test_an_operator_gives_a_queue_a_weight_in_the_admin(
    boss: Client, took: Callable[..., None]
) -> None:
    added = boss.post(
        "/admin/notifications/queueweight/add/", {"queue": "email.low", "weight": "3"}
    )
    assert added.status_code == 302
    assert allocation.read()["email.low"].source == "operator"


def test_it_renews_itself_and_asks_nobody_outside(boss: Client) -> None:
    page = boss.get("/admin/").content.decode()
    assert 'hx-get="/dashboard/live/?span=hour"' in page
    assert boss.get("/dashboard/live/").status_code == 200
    # xmlns names are no requests
    fetched = re.findall(r'(?:src|href|hx-get|action)="(?:https?:)?//([^/"]+)', page)
    assert fetched == []


def test_only_staff_sees_it(client: Client, transactional_db: None) -> None:
    assert client.get("/dashboard/live/").status_code == 302
    assert client.get("/dashboard/stream/").status_code == 302


def test_it_is_streamed_in_the_viewers_zone_to_a_few_at_once(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_stream, "EVERY", 0.0)
    boss.cookies["zone"] = "Asia/Kolkata"
    open_ones = [boss.get("/dashboard/stream/?span=day") for _ in range(live_stream.MOST)]
    assert [answer["Content-Type"] for answer in open_ones] == ["text/event-stream"] * 4
    for _ in range(2):
        event = next(iter(open_ones[0])).decode()
        assert re.search(r"data: .*\d\d:\d\d:\d\d IST, renewed", event)
        assert "Sent per hour" in event
        assert event.endswith("\n\n")
    assert boss.get("/dashboard/stream/").status_code == 503
    open_ones.pop().close()
    assert boss.get("/dashboard/stream/").status_code == 200
    monkeypatch.setattr(live_stream, "LONGEST", -1.0)
    open_ones.pop().close()
    assert b"".join(boss.get("/dashboard/stream/")) == b""  # it has had its time
    for answer in open_ones:
        answer.close()


def test_the_charts_of_a_day_and_a_week_are_of_what_schedulers_counted(
    boss: Client, accepted: Callable[..., Notification]
) -> None:
    this = clock.now().replace(second=0, microsecond=0)
    for ago, count in ((timedelta(hours=3), 40), (timedelta(days=3), 200), (timedelta(days=9), 9)):
        MinuteCount.objects.create(
            minute=this - ago, channel="email", priority="low", accepted=count, sent=count
        )
    accepted(priority="high")
    totals = {
        span: {
            chart.title: chart.total for chart in boss.get(f"/admin/?span={span}").context["charts"]
        }
        for span in ("hour", "day", "week", "nonsense")
    }
    assert totals["hour"] == totals["nonsense"] == {"Accepted": 1, "Sent": 0, "Failed": 0}
    assert totals["day"] == {"Accepted": 41, "Sent": 40, "Failed": 0}
    assert totals["week"] == {"Accepted": 241, "Sent": 240, "Failed": 0}


def test_schedulers_count_each_settled_minute_once_and_old_counts_leave(
    accepted: Callable[..., Notification], settings: Any
) -> None:
    settings.NOTIFICATIONS_KEEP_MINUTE_COUNTS_DAYS = 2
    now = clock.now()
    then = (now - timedelta(minutes=10)).replace(second=5, microsecond=0)
    row = accepted(priority="low")
    Notification.objects.filter(pk=row.pk).update(
        id=throughput._first_id(then), finished_at=then, status="failed", due_at=None
    )
    MinuteCount.objects.create(minute=now - timedelta(days=3))
    throughput.tick()
    throughput.tick()
    kept = MinuteCount.objects.exclude(channel="")
    assert [(minute.minute, minute.accepted, minute.failed) for minute in kept] == [
        (then.replace(second=0), 1, 1)
    ]
    marks = MinuteCount.objects.filter(channel="")
    assert marks.count() == len({mark.minute for mark in marks})
    assert max(mark.minute for mark in marks) < now - throughput.SETTLED_AFTER
    assert min(mark.minute for mark in marks) > now - timedelta(hours=2)
    Notification.objects.all().delete()  # what is kept is not counted again
    throughput.forget()
    assert sum(sum(minute.failed.values()) for minute in throughput.last(60)) == 1


def test_links_of_grafanas_panels_lead_to_their_rows(boss: Client) -> None:
    dashboards = [json.loads(file.read_text()) for file in DASHBOARDS.glob("*.json")]
    links = {
        link["url"]
        for dashboard in dashboards
        for panel in dashboard["panels"]
        for link in panel.get("links", ())
    }
    assert len(links) > 10
    answers = {link: boss.get(link.removeprefix("${web}")) for link in links}
    # A filter that a list does not know leads back to the list without it.
    assert {link for link, answer in answers.items() if answer.status_code != 200} == set()


def test_a_recipient_can_be_suppressed_from_its_notification(
    boss: Client, accepted: Callable[..., Notification]
) -> None:
    row = accepted(channel="email", recipient="ada@example.org")
    boss.post(f"/admin/notifications/notification/{row.pk}/suppress/", {"_form_submitted": "on"})
    again = accepted(channel="email", recipient="ada@example.org")
    assert again.status == "suppressed"
