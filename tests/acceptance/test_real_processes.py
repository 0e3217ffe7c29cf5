"""The processes of a production system, on Postgres, Redis and a mail server, as people use it."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, PeriodicTask

from notifications.models import Notification
from notifications.tasks import send_notification
from tests.servers.processes import Processes
from tests.servers.smtp import SmtpServer

Wait = Callable[..., Any]


@pytest.fixture
def system(processes: Processes, smtp_server: SmtpServer) -> Processes:
    processes.env["EMAIL_URL"] = smtp_server.url
    processes.env["EMAIL_FROM"] = "shop@example.com"
    processes.worker("--concurrency", "2")
    processes.beat()
    return processes


def _schedule(recipient: str, seconds: float, *, enabled: bool = True) -> PeriodicTask:
    """Make a one-off schedule as a person makes it in the admin."""
    due = timezone.now() + timedelta(seconds=seconds)
    message = {"channel": "email", "recipient": recipient, "subject": "Due", "body": "It is time."}
    return PeriodicTask.objects.create(
        name=recipient,
        task="notifications.send_notification",
        clocked=ClockedSchedule.objects.create(clocked_time=due),
        one_off=True,
        enabled=enabled,
        kwargs=json.dumps(message),
    )


def test_a_call_becomes_a_mail_at_the_mail_server(
    system: Processes, smtp_server: SmtpServer, wait_until: Wait
) -> None:
    result = send_notification.apply_async(
        kwargs={
            "channel": "email",
            "recipient": "ada@example.com",
            "subject": "Your code",
            "body": "It is 123456.",
        }
    )
    wait_until(lambda: smtp_server.messages)
    (mail,) = smtp_server.messages
    assert mail.sender == "shop@example.com"
    assert mail.recipients == ["ada@example.com"]
    assert mail.message["Subject"] == "Your code"
    assert "123456" in mail.message.get_content()
    sent = wait_until(lambda: Notification.objects.filter(id=result.id, status="sent").first())
    assert [attempt.number for attempt in sent.attempts.all()] == [1]


def test_a_one_off_schedule_sends_at_its_time_and_a_paused_one_does_not(
    system: Processes, smtp_server: SmtpServer, wait_until: Wait
) -> None:
    first = _schedule("first@example.com", 2)
    _schedule("paused@example.com", 2, enabled=False)
    _schedule("last@example.com", 4)
    wait_until(lambda: len(smtp_server.messages) == 2)
    assert [mail.recipients for mail in smtp_server.messages] == [
        ["first@example.com"],
        ["last@example.com"],
    ]
    sent = Notification.objects.get(recipient="first@example.com")
    assert first.clocked is not None
    assert sent.created_at >= first.clocked.clocked_time


def test_the_web_app_is_ready_and_its_admin_has_its_styles(processes: Processes) -> None:
    _, address = processes.web()
    assert httpx.get(f"{address}/healthz/live").status_code == 200
    login = httpx.get(f"{address}/admin/login/")
    assert "password" in login.text
    style = re.search(r'href="(/static/[^"]+\.css)', login.text)
    assert style is not None
    assert httpx.get(f"{address}{style[1]}").headers["content-type"].startswith("text/css")


def test_flower_shows_the_worker(processes: Processes, wait_until: Wait) -> None:
    processes.worker("--hostname", "seen@%h")
    _, address = processes.flower()
    wait_until(lambda: "seen@" in httpx.get(f"{address}/workers").text)
