"""A new field that providers see is written in four files beside its migration."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]

# What somebody writes who adds the text "campaign": in each file, after which line.
CHANGES: dict[str, list[tuple[str, str | None]]] = {
    "notifications/models/notification.py": [
        (
            "    reference = models.CharField(max_length=255, blank=True)\n",
            '    campaign = models.CharField(max_length=50, blank=True, db_default="", default="")'
            "\n",
        )
    ],
    "notifications/submission/fields.py": [
        ("    reference: str\n", '    """Your own id."""\n    campaign: str\n'),
        ('    reference: str = ""\n', '    campaign: str = ""\n'),
        ("    idempotency_key: str\n    reference: str\n", "    campaign: str\n"),
        ('TEXTS = {"locale": 35,', ' "campaign": 50,'),
    ],
    "notifications/core/attempt.py": [
        ('    traceparent: str = ""\n', '    campaign: str = ""\n'),
        ("    deadline: float = math.inf\n", '    campaign: str = ""\n'),
    ],
    "notifications/api/notification_bodies.py": [
        ("    reference: str = Field(", None),
        ("    guarantee: str\n    reference: str\n", "    campaign: str\n"),
    ],
}
IN = '    campaign: str = Field("", description="What it belongs to.")\n'

PROGRAM = """
import django

django.setup()
from django.core.management import call_command
from django.test import Client

call_command("makemigrations", "notifications", name="campaign", verbosity=0)
call_command("migrate", verbosity=0)

from notifications.db import clock
from notifications.models import FailedDelivery, Notification
from notifications.operations import api_keys, replays
from notifications.submission import send

common = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
row = send(**common, campaign="spring")
assert Notification.objects.get(id=row.id).campaign == "spring"

try:
    send(**common, campaign="x" * 51)
    raise AssertionError("a text that is too long was accepted")
except ValueError as error:
    assert error.field == "campaign", error

send(**common, campaign="a", idempotency_key="k")
try:
    send(**common, campaign="b", idempotency_key="k")
    raise AssertionError("another content was taken for the same")
except ValueError as error:
    assert "key" in str(error), error

old = send(**common, campaign="spring", test=True)
dead = FailedDelivery.objects.create(
    notification=old,
    channel=old.channel,
    priority=old.priority,
    reason="rejected",
    created_at=clock.now(),
)
assert replays.replay(dead).campaign == "spring"

key = api_keys.create("shop").token
headers = {"Authorization": f"Bearer {key}", "Host": "localhost"}
url = "/api/v1/notifications"
made = Client(headers=headers).post(
    url, {**common, "campaign": "autumn"}, content_type="application/json"
)
assert made.status_code == 201, made.content
seen = Client(headers=headers).get(f"{url}/{made.json()['id']}").json()
assert seen["campaign"] == "autumn", seen
from notifications.delivery import claims, pipeline
from notifications.providers.simulator import SimulatorProvider

calls = []
send_one = SimulatorProvider.send


def noting(self, message):
    calls.append(message.campaign)
    return send_one(self, message)


SimulatorProvider.send = noting
pipeline.deliver(claims.claim([row.id]), worker="test")
assert calls == ["spring"], calls
print("a field in one place")
"""


def test_a_new_text_is_stored_checked_compared_replayed_and_shown(tmp_path: Path) -> None:
    for package in ("config", "notifications", "scheduling", "templates_engine"):
        shutil.copytree(ROOT / package, tmp_path / package)
    for name, changes in CHANGES.items():
        path = tmp_path / name
        text = path.read_text()
        for line, added in changes:
            assert line in text, (name, line)
            text = text.replace(line, IN + line if added is None else line + added, 1)
        path.write_text(text)
    run = subprocess.run(
        (sys.executable, "-c", PROGRAM),
        cwd=tmp_path,
        env={"DJANGO_SETTINGS_MODULE": "config.settings", "VAR_DIR": str(tmp_path / "var")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "a field in one place" in run.stdout, run.stderr
