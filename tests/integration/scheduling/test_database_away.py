"""Schedulers and workers whose database is away at their start, hangs, and comes back."""

from collections.abc import Callable

import psycopg

from tests.servers.postgres import PostgresServer
from tests.servers.process import suspended
from tests.servers.processes import Processes

APP = "tests.integration.scheduling.declaring_app"
DECLARED = "SELECT count(*) FROM django_celery_beat_periodictask WHERE name = ANY(%s)"


def declared(server: PostgresServer, *names: str) -> int:
    with psycopg.connect(server.url) as database:
        row = database.execute(DECLARED, [list(names)]).fetchone()
    assert row is not None
    return int(row[0])


def test_processes_say_each_outage_once_and_what_is_declared_is_kept_when_it_is_over(
    migrated_postgres_server: PostgresServer,
    processes: Processes,
    wait_until: Callable[..., object],
) -> None:
    server = migrated_postgres_server
    processes.env["DATABASE_URL"] = server.url
    server.kill()
    running = [
        processes.start("beat", "celery", "-A", APP, "beat"),
        processes.start("worker", "celery", "-A", APP, "worker", "-c", "1", "-Q", "jobs"),
    ]

    def said(what: str, times: int) -> None:
        def by_all() -> bool:
            return all(process.output().count(f"database_{what}") >= times for process in running)

        wait_until(by_all, hint=f"{what} {times}")

    said("away:", 1)
    server.start()
    said("back", 1)
    names = ("celery.backend_cleanup", "kept entry")
    wait_until(lambda: declared(server, *names) == len(names))
    with suspended(server.pid):
        said("away:", 2)
    said("back", 2)
    for process in running:
        assert process.output().count("database_away:") == 2
        assert process.output().count("database_back") == 2
        assert "announce" not in process.output()
        assert process.first_traceback() == ""
        assert process.returncode is None
