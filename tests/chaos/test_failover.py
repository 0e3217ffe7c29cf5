"""Three simulated SMS providers fail in turn while workers are killed: all arrive in time."""

import random
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.chaos.world import World, wait_for
from tests.thorough import THOROUGH

TEXTS = 150 if THOROUGH else 80
DEADLINE = 300  # seconds, of each text: an OTP's five minutes, also where all is slow
HARM = 6 if THOROUGH else 4  # workers and children killed
ACCOUNTS = ("sms-a", "sms-b", "sms-c")
FAILURES = ("result=transient&code=503", "result=hang", "error_rate=0.5")


def configure(world: World) -> None:
    with psycopg.connect(world.postgres.url) as connection:
        for name in ACCOUNTS:
            connection.execute(
                """INSERT INTO notifications_provideraccount
                   (name, channel, kind, settings, secrets, weight, rate_limit, enabled, updated_at)
                   VALUES (%s, 'sms', 'simulator', '{}', '{}', 100, '', true, now())""",
                [name],
            )


def let_fail(world: World, number: int) -> None:
    """Let two of the three fail, each time others and in another way; one is up."""
    up = ACCOUNTS[number % 3]
    behaviours = {
        name: f"record={world.simulated}&latency=0.01"
        + ("" if name == up else f"&{FAILURES[(number + place) % 3]}")
        for place, name in enumerate(ACCOUNTS)
    }
    with psycopg.connect(world.postgres.url) as connection:
        for name, behaviour in behaviours.items():
            connection.execute(
                "UPDATE notifications_provideraccount SET settings = %s WHERE name = %s",
                [Jsonb({"behaviour": behaviour}), name],
            )


SUBMIT = f"""
import sys, time
import django; django.setup()
from notifications.submission import send
count, first = map(int, sys.argv[1:])
for n in range(first, first + count):
    send(channel="sms", recipient=f"+43664{{1000000 + n}}", body="Your code is 1234",
         priority="high", expires={DEADLINE})
    time.sleep(0.1)
"""


def let_only(world: World, up: str) -> None:
    """Let the two others fail at once, and stay so: a text that is sent goes by this one."""
    with psycopg.connect(world.postgres.url) as connection:
        for name in ACCOUNTS:
            fails = "" if name == up else f"&{FAILURES[0]}"
            connection.execute(
                "UPDATE notifications_provideraccount SET settings = %s WHERE name = %s",
                [Jsonb({"behaviour": f"record={world.simulated}{fails}"}), name],
            )


def submit(world: World, count: int, first: int) -> None:
    world.submitter = world.processes.start(
        "submit",
        *("python", "-c", SUBMIT, str(count), str(first)),
        DJANGO_SETTINGS_MODULE="config.settings",
    )


@pytest.mark.timeout(900)
def test_every_text_arrives_before_its_deadline_while_one_provider_is_up(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        configure(world)
        let_fail(world, 0)
        submit(world, TEXTS, 0)
        turns = 0
        while turns < HARM or world.submitter.returncode is None:
            turns += 1
            let_fail(world, turns)
            if turns <= HARM:
                world.disturb(random.choice(["worker", "child"]))
            time.sleep(2)
            world.tend()
        assert world.submitter.returncode == 0, world.submitter.output()
        ends = time.monotonic() + DEADLINE + 30
        while not world.is_settled() and time.monotonic() < ends:
            turns += 1
            let_fail(world, turns)
            time.sleep(2)
            world.tend()
        for number, up in enumerate(ACCOUNTS):
            let_only(world, up)
            submit(world, 1, TEXTS + number)
            assert world.submitter.wait() == 0, world.submitter.output()
            assert wait_for(world.is_settled, DEADLINE, world.tend)
        with psycopg.connect(world.postgres.url) as connection:
            ended = connection.execute(
                """SELECT status, count(*), bool_and(sent_at <= expires_at)
                   FROM notifications_notification GROUP BY 1"""
            ).fetchall()
            providers = connection.execute(
                "SELECT count(DISTINCT provider) FROM notifications_attempt WHERE result = 'sent'"
            ).fetchone()
            failed_over = connection.execute(
                "SELECT count(*) FROM notifications_notification WHERE failover_count > 0"
            ).fetchone()
        # Whatever was raised for some of them, as after their record: it is their reason only.
        assert ended == [("sent", TEXTS + len(ACCOUNTS), True)]
        assert providers == (3,)
        assert failed_over != (0,)
        assert world.kills["worker"] + world.kills["child"] == HARM
        arrived = Path(world.simulated).read_text().split()
        assert len(set(arrived)) == TEXTS + len(ACCOUNTS)
        # Only what was in flight at a kill may come twice.
        assert {id_ for id_ in arrived if arrived.count(id_) > 1} <= world.in_flight
    finally:
        world.close()
