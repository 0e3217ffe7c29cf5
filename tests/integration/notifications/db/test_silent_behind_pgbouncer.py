"""PgBouncer lives, and the Postgres behind it is silent: the web answers within its bounds."""

import httpx
import pytest

from tests.servers.pgbouncer import MISSING, PgBouncer, pgbouncer_binary
from tests.servers.postgres import PostgresServer
from tests.servers.process import suspended, wait_until
from tests.servers.processes import Processes
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.skipif(pgbouncer_binary() is None, reason=MISSING)

SIMULATED = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
LONGEST = 60.0  # seconds; PgBouncer waits for twice as long


def test_the_web_answers_while_the_server_behind_the_pooler_is_silent(
    processes: Processes, redis_server: RedisServer, migrated_postgres_server: PostgresServer
) -> None:
    server = migrated_postgres_server
    pooler = PgBouncer(server.url, connections=6, query_wait=120).start()
    processes.env |= {
        "DATABASE_URL": pooler.url,
        "DATABASE_IS_POOLED": "1",
        "BROKER_URL": redis_server.url,
        "WEB_STATEMENT_TIMEOUT": "4",
    }
    try:
        made = processes.run("key", "python", "manage.py", "create_api_key", "tests")
        key = next(word for word in made.split() if word.startswith("ntf_live_"))
        web, address = processes.web()
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=address, headers=headers, timeout=LONGEST) as api:
            assert api.post("/api/v1/notifications", json=SIMULATED).status_code == 201
            with suspended(server.pid):
                answer = api.post("/api/v1/notifications", json=SIMULATED)
                assert (answer.status_code, answer.json()["type"][-13:]) == (503, "database-away")
                ready = api.get("/healthz/ready")
                assert ready.json()["checks"]["database"] == "it does not answer"
                assert "notifications_database_up 0.0" in api.get("/metrics").text
            wait_until(lambda: api.post("/api/v1/notifications", json=SIMULATED).status_code == 201)
        assert web.output().count("database_away: it does not answer") == 1
        assert web.first_traceback() == ""
    finally:
        processes.end_all()
        pooler.stop()
