"""Digests while workers, schedulers and the submitter are killed: each event is in exactly one.

``DIGEST_EVENTS=100000`` makes them that many, by ``send_many``, for 1,000 keys.
"""

import os
import random
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from tests.chaos.world import World, wait_for
from tests.servers.processes import RunningProcess

EVENTS = int(os.environ.get("DIGEST_EVENTS") or 400)
IS_LARGE = EVENTS > 400
KEYS = 1000 if IS_LARGE else 12
HARM = 60 if IS_LARGE else 7
TOGETHER = 500  # events of one call of ``send_many``
HARMS = ("worker", "child", "scheduler") * (4 if IS_LARGE else 1) + ("submitter",)
WINDOW = 240 if IS_LARGE else 1.5  # seconds
PATIENCE = 10 if IS_LARGE else 1  # times as long for all that is waited for

EMIT = f"""
import time
import django; django.setup()
from notifications.submission import send, send_many
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
of_list = "{{% for one in items %}}{{{{ one.n }}}} {{% endfor %}}of {{{{ count }}}}"
for name, body in (("comment", "Comment {{{{ n }}}}"), ("comments", of_list)):
    made, _ = Template.objects.get_or_create(name=name, channel="simulator")
    if not made.versions.filter(status="published").exists():
        publish(create_version(made, {{"body": body}}))
def event(n):
    return {{
        "recipient": "ada", "context": {{"n": n}}, "idempotency_key": f"event-{{n}}",
        "digest": {{
            "key": f"doc-{{n % {KEYS}}}", "window": {WINDOW}, "template": "comments", "limit": 500,
            "first": ("together", "at_once")[n % 2],
        }},
    }}
common = {{"channel": "simulator", "template": "comment"}}
if {IS_LARGE}:
    for at in range(0, {EVENTS}, {TOGETHER}):
        done = send_many([event(n) for n in range(at, at + {TOGETHER})], **common)
        assert not done.errors, done.errors
else:
    for n in range({EVENTS}):
        send(**common, **event(n))
        time.sleep(0.02)
"""
EVENT = "SELECT (context->>'n')::int, status FROM notifications_notification WHERE context ? 'n'"
SENT = """SELECT (item->>'n')::int FROM notifications_notification,
          jsonb_array_elements(context->'items') item
          WHERE digest_id = id AND status = 'sent'"""
DIGESTS = (
    """SELECT status, count(*) FROM notifications_notification WHERE digest_id = id GROUP BY 1"""
)


class Events(World):
    """A world whose submitter sends events; started anew it says what it has said before."""

    def _submitter(self) -> RunningProcess:
        return self.processes.start(
            "submitter", "python", "-c", EMIT, DJANGO_SETTINGS_MODULE="config.settings"
        )


@pytest.mark.timeout(400 * PATIENCE)
def test_each_event_is_in_exactly_one_digest_whoever_dies(tmp_path: Path) -> None:
    world = Events(tmp_path, chance=0.002)
    try:
        world.submit(0, 0, tmp_path / "unused")
        for _ in range(HARM):
            time.sleep(random.uniform(0.5, 1.5))
            world.tend()
            harm = random.choice(HARMS)
            if harm == "submitter":
                world.submitter.kill()
                world.kills[harm] += 1
            else:
                world.disturb(harm)
        is_submitted = wait_for(world.has_submitted, 180 * PATIENCE, world.tend)
        assert is_submitted, world.submitter.output()[-3000:]
        assert wait_for(world.is_settled, 120 * PATIENCE, world.tend)
        with psycopg.connect(world.postgres.url) as connection:
            events = connection.execute(EVENT).fetchall()
            listed = Counter(n for (n,) in connection.execute(SENT))
            digests: dict[str, int] = dict(connection.execute(DIGESTS).fetchall())
        assert sorted(n for n, _ in events) == list(range(EVENTS))
        merged = {n for n, status in events if status == "merged"}
        alone = {n for n, status in events if status == "sent"}
        assert len(merged) + len(alone) == EVENTS
        assert listed == Counter(merged)  # each once, and all of them
        assert digests.keys() <= {"sent", "cancelled"}  # cancelled: nothing has joined
        assert digests["sent"] < len(merged)
        print(f"{len(merged)} in {digests}, {len(alone)} at once; killed: {dict(world.kills)}")
    finally:
        world.close()
