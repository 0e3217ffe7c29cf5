"""Digests while workers, schedulers and the submitter are killed: each event is in exactly one."""

import random
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from tests.chaos.world import World, wait_for
from tests.servers.processes import RunningProcess

EVENTS = 400
KEYS = 12
HARM = 7

EMIT = f"""
import time
import django; django.setup()
from notifications.submission import send
from templates_engine.models import Template
from templates_engine.publishing import create_version, publish
of_list = "{{% for one in items %}}{{{{ one.n }}}} {{% endfor %}}of {{{{ count }}}}"
for name, body in (("comment", "Comment {{{{ n }}}}"), ("comments", of_list)):
    made, _ = Template.objects.get_or_create(name=name, channel="simulator")
    if not made.versions.filter(status="published").exists():
        publish(create_version(made, {{"body": body}}))
for n in range({EVENTS}):
    send(
        channel="simulator", recipient="ada", template="comment",
        context={{"n": n}}, idempotency_key=f"event-{{n}}",
        digest={{
            "key": f"doc-{{n % {KEYS}}}", "window": 1.5, "template": "comments", "limit": 500,
            "first": ("together", "at_once")[n % 2],
        }},
    )
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


@pytest.mark.timeout(400)
def test_each_event_is_in_exactly_one_digest_whoever_dies(tmp_path: Path) -> None:
    world = Events(tmp_path, chance=0.002)
    try:
        world.submit(0, 0, tmp_path / "unused")
        for _ in range(HARM):
            time.sleep(random.uniform(0.5, 1.5))
            world.tend()
            harm = random.choice(["worker", "child", "scheduler", "submitter"])
            if harm == "submitter":
                world.submitter.kill()
            else:
                world.disturb(harm)
        assert wait_for(world.has_submitted, 180, world.tend), world.submitter.output()[-3000:]
        assert wait_for(world.is_settled, 120, world.tend)
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
    finally:
        world.close()
