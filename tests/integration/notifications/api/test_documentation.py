"""The examples of docs/api.md, run as they stand against a live server."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from notifications.models import ChainRun, FailedDelivery, Notification
from notifications.operations import api_keys
from tests.pages import DOCS, examples
from tests.servers.processes import Processes

PAGE = DOCS / "api.md"


@pytest.fixture
def world(processes: Processes, tmp_path: Path) -> Any:
    """A live server with a worker, as after ``make up``, and a key."""
    processes.worker("-c", "1", OUTBOX="1")
    _, address = processes.web(OUTBOX="1")
    return os.environ | {
        "BASE": address,
        "KEY": api_keys.create("docs").token,
        "HOME": str(tmp_path),
    }


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_a_person_with_only_curl_can_follow_the_pages(
    world: Any, tmp_path: Path, processes: Processes
) -> None:
    pages = ("api.md", "events.md", "escalation.md", "digests.md")
    blocks = [block for page in pages for block in examples(page, "curl")]
    script = "set -eu\n" + "\n".join(blocks)
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        env=world,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    paid = Notification.objects.get(idempotency_key="order-1235-paid")
    assert (paid.recipient, paid.priority) == ("ada@example.org", "high")
    assert Notification.objects.get(subject="Soon").status == "cancelled"
    assert Notification.objects.filter(batch__name="april").count() == 1
    assert Notification.objects.get(template_version__template__name="unpaid").status == "cancelled"
    assert FailedDelivery.objects.filter(state="replayed").count() == 1
    # Their Python goes on from there.
    for page in ("escalation.md", "digests.md"):
        (code,) = examples(page, "shell")
        processes.run("shell", "python", "manage.py", "shell", "-v0", "-c", code, OUTBOX="1")
    assert ChainRun.objects.filter(chain="alarm").count() == 1
    assert Notification.objects.filter(status="merged").count() == 3


def test_the_python_examples_run(world: Any, tmp_path: Path) -> None:
    for code in examples("api.md", "python"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=world,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout


def test_the_page_names_every_limit_that_holds(settings: Settings) -> None:
    text = PAGE.read_text()
    assert f"{settings.NOTIFICATIONS_API_BATCH_ROWS:,} rows" in text
    assert f"{settings.NOTIFICATIONS_API_BATCH_BYTES // 1_000_000} MB" in text
    assert f"nested {settings.NOTIFICATIONS_API_JSON_DEPTH} levels" in text
    assert f"{settings.NOTIFICATIONS_API_RATE} by default" in text


def test_the_page_needs_nothing_from_elsewhere(client: Client, db: None) -> None:
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert sources
    for source in sources:
        assert source.startswith("/static/"), source
        assert client.get(source).status_code == 200
    assert Path(PAGE).exists()
