"""A delivery window opens, closes and opens again while processes die and recipients refuse."""

import random
import time
from pathlib import Path

import psycopg
import pytest

from tests.chaos.world import World, wait_for

ROWS = 300
HARM = ("worker", "child", "scheduler") * 2

SUBMIT = f"""
import django; django.setup()
from notifications.submission import save_recipients, send_many
keys = [f"customer-{{n}}" for n in range({ROWS})]
save_recipients({{"id": k, "addresses": {{"simulator": k}}}} for k in keys)
rows = [{{"to": {{"recipient": k}}}} for k in keys]
print(send_many(rows, channel="simulator", body="B", category="billing").accepted)
"""

WITHDRAW = """
import sys, time
import django; django.setup()
from notifications.submission import choose_preferences
for n in range(*map(int, sys.argv[1:])):
    choose_preferences(f"customer-{n}", {"billing": {"": False}})
    time.sleep(0.02)
"""

WINDOW = """
import sys
from datetime import UTC, datetime, time, timedelta
import django; django.setup()
from notifications.models import DeliveryWindow
from notifications.recipients import windows
begins = ends = time(0)
if sys.argv[1] == "close":
    opens = datetime.now(UTC) + timedelta(hours=6)
    begins, ends = opens.time(), (opens + timedelta(hours=2)).time()
windows.save(DeliveryWindow(category="billing", begins=begins, ends=ends, timezone="UTC", spread=0))
"""

# What a clock would do in six hours.
PASS_THE_TIME = """UPDATE notifications_notification SET due_at = now()
                   WHERE status = 'scheduled' AND reason = 'window_closed'"""
WAITING = """SELECT count(*) FROM notifications_notification
             WHERE status = 'scheduled' AND reason = 'window_closed' AND due_at > now()"""
OF_KEY = "SELECT id::text, recipient_key, status, reason FROM notifications_notification"


def run(world: World, code: str, *arguments: object) -> str:
    words = ("python", "-c", code, *map(str, arguments))
    return world.processes.run("script", *words, DJANGO_SETTINGS_MODULE="config.settings")


def pass_the_time(world: World) -> None:
    with psycopg.connect(world.postgres.url) as connection:
        connection.execute(PASS_THE_TIME)


@pytest.mark.timeout(600)
def test_a_window_loses_nothing_and_sends_nothing_that_was_refused_before_its_claim(
    tmp_path: Path,
) -> None:
    random.seed(24)
    world = World(tmp_path)
    try:
        run(world, WINDOW, "close")
        assert run(world, SUBMIT).split()[-1] == str(ROWS)
        assert world.query(WAITING) == ROWS
        run(world, WITHDRAW, 0, ROWS // 3)  # before any claim
        run(world, WINDOW, "open")
        world.submitter = world.processes.start(  # beside the claims
            "withdraw",
            *("python", "-c", WITHDRAW, str(ROWS // 3), str(ROWS * 2 // 3)),
            DJANGO_SETTINGS_MODULE="config.settings",
        )
        for number, kind in enumerate(HARM):
            if number == 2:
                run(world, WINDOW, "close")
            if number == 4:
                run(world, WINDOW, "open")
            with psycopg.connect(world.postgres.url) as connection:
                # A few at a time, so that each harm meets some.
                connection.execute(
                    f"{PASS_THE_TIME} AND id IN (SELECT id FROM notifications_notification"
                    f" WHERE status = 'scheduled' ORDER BY id LIMIT {ROWS // len(HARM)})"
                )
            time.sleep(0.3)
            world.disturb(kind)
            world.tend()
        assert world.submitter.wait() == 0, world.submitter.output()

        def go_on() -> None:
            pass_the_time(world)
            world.tend()

        assert wait_for(world.is_settled, 300, go_on)
        with psycopg.connect(world.postgres.url) as connection:
            rows = connection.execute(OF_KEY).fetchall()
    finally:
        world.close()
    arrived = world.simulated.read_text().split()
    number_of = {id_: int(key.partition("-")[2]) for id_, key, *_ in rows}
    assert len(rows) == ROWS
    assert {status for *_, status, _ in rows} == {"sent", "suppressed"}
    refused = {reason for *_, status, reason in rows if status == "suppressed"}
    assert refused == {"category_refused"}
    # Who refused before is sent nothing, who never refused everything, the others one or the other.
    assert not [id_ for id_ in arrived if number_of[id_] < ROWS // 3]
    kept = {id_ for id_, number in number_of.items() if number >= ROWS * 2 // 3}
    assert kept <= set(arrived)
    assert {id_ for id_, _, status, _ in rows if status == "sent"} <= set(arrived)
    assert {id_ for id_ in arrived if arrived.count(id_) > 1} <= world.in_flight
    assert all(world.kills[kind] == 2 for kind in set(HARM))
