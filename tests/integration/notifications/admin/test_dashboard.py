"""The first page: what happens now, without an outside request."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from notifications.models import Notification
from notifications.monitoring import throughput
from notifications.queueing import allocation


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
    charts = {chart.title: chart.total for chart in boss.get("/admin/").context["charts"]}
    assert charts == {"Accepted": 3, "Sent": 1, "Failed": 1}


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
    assert 'hx-get="/dashboard/live/"' in page
    assert boss.get("/dashboard/live/").status_code == 200
    # xmlns names are no requests
    fetched = re.findall(r'(?:src|href|hx-get|action)="(?:https?:)?//([^/"]+)', page)
    assert fetched == []


def test_only_staff_sees_it(client: Client, transactional_db: None) -> None:
    assert client.get("/dashboard/live/").status_code == 302


def test_a_recipient_can_be_suppressed_from_its_notification(
    boss: Client, accepted: Callable[..., Notification]
) -> None:
    row = accepted(channel="email", recipient="ada@example.org")
    boss.post(f"/admin/notifications/notification/{row.pk}/suppress/", {"_form_submitted": "on"})
    again = accepted(channel="email", recipient="ada@example.org")
    assert again.status == "suppressed"
