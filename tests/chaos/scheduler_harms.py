"""What reality does to schedulers beside killing them: clocks, outages, rows, deployments."""

import contextlib
import time
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import redis
from psycopg import sql

DAY, HOUR = 86400.0, 3600.0
JUMPS = (60.0, -60.0, 3 * DAY, -20.0, 20.0, -HOUR)
"""Seconds by which the clock jumps, for a moment; one after the other."""
CLOCK = """
CREATE SCHEMA IF NOT EXISTS chaos_clock;
CREATE TABLE IF NOT EXISTS chaos_clock.jump (by interval NOT NULL);
TRUNCATE chaos_clock.jump;
INSERT INTO chaos_clock.jump VALUES ('0');
CREATE OR REPLACE FUNCTION chaos_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
AS 'SELECT pg_catalog.clock_timestamp() + (SELECT by FROM chaos_clock.jump)';
"""
BROKEN = (
    "UPDATE django_celery_beat_periodictask SET kwargs = '{bad' WHERE name = %s",
    "UPDATE django_celery_beat_periodictask SET headers = 'null' WHERE name = %s",
    "UPDATE django_celery_beat_periodictask SET args = '{\"a\": 1}' WHERE name = %s",
    "UPDATE django_celery_beat_periodictask SET queue = 'nowhere' WHERE name = %s",
    "UPDATE django_celery_beat_periodictask SET start_time = 'infinity' WHERE name = %s",
    """UPDATE scheduling_schedule SET misfire = 'what', overlap = 'ever' WHERE periodic_task_id =
       (SELECT id FROM django_celery_beat_periodictask WHERE name = %s)""",
)


class Database:
    """A Postgres database, harmed by way of SQL alone: others on its server notice nothing."""

    def __init__(self, url: str) -> None:
        self._url = url

    @contextlib.contextmanager
    def movable_clock(self) -> Iterator[None]:
        """Have sessions from now on read a ``clock_timestamp()`` that ``jump`` moves."""
        self._run(CLOCK)
        self._alter("SET search_path = chaos_clock, pg_catalog, public")
        try:
            yield
        finally:
            self._alter("RESET search_path")
            self._run("DROP SCHEMA chaos_clock CASCADE")

    def jump(self, seconds: float, lasting: float) -> None:
        """Move the clock, for a while."""
        for by in (seconds, 0.0):
            self._run("UPDATE chaos_clock.jump SET by = make_interval(secs => %s)", by)
            if by:
                time.sleep(lasting)

    def be_read_only(self, lasting: float) -> None:
        """Refuse to write, as after a failover to a replica; sessions are cut at both ends."""
        self._alter("SET default_transaction_read_only = on")
        try:
            self._cut_sessions()
            time.sleep(lasting)
        finally:
            self._alter("RESET default_transaction_read_only")
            self._cut_sessions()

    def break_row(self, number: int) -> str:
        """Make a schedule's row unreadable, a few of them in turn; return its name."""
        with self._connected() as connection:
            names = connection.execute(
                "SELECT name FROM django_celery_beat_periodictask WHERE name LIKE 'broken %'"
                " ORDER BY id"
            ).fetchall()
            (name,) = names[number % len(names)]
            connection.execute(BROKEN[number % len(BROKEN)], [name])
        return str(name)

    def _alter(self, change: LiteralString) -> None:
        with self._connected() as connection:
            name = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL("ALTER DATABASE {} ").format(name) + sql.SQL(change))

    def _cut_sessions(self) -> None:
        self._run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def _run(self, statement: LiteralString, *values: object) -> None:
        with self._connected() as connection:
            connection.execute(statement, values or None)

    def _connected(self) -> psycopg.Connection:
        options = "-c default_transaction_read_only=off -c search_path=public"
        return psycopg.connect(self._url, autocommit=True, options=options)


def fill_redis(url: str, lasting: float) -> None:
    """Let Redis refuse what takes memory, for a while."""
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", "1")
        try:
            time.sleep(lasting)
        finally:
            client.config_set("maxmemory", "0")
