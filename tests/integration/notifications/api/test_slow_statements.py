"""The slow statements of one call have a bound together; what is refused is nowhere accepted."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.db import connection

from notifications.models import Notification
from tests.servers.processes import Processes

TABLES = ("notifications_batch", "notifications_notification")
SLOW = """
CREATE FUNCTION wait_a_while() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;
""" + "".join(
    f"CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT"
    " EXECUTE FUNCTION wait_a_while();"
    for table in TABLES
)
BODY: Any = {"channel": "simulator", "recipient": "ada", "body": "Hello"}


@pytest.fixture
def slow_writes(transactional_db: None) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(SLOW)
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION wait_a_while CASCADE")


def test_a_call_of_several_slow_statements_is_ended_as_one_slow_statement_is(
    processes: Processes, key: str, slow_writes: None
) -> None:
    web, address = processes.web(WEB_STATEMENT_TIMEOUT="2", OUTBOX="1")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=address, headers=headers, trust_env=False, timeout=60) as api:
        single = api.post("/api/v1/notifications", json=BODY)
        assert single.status_code == 201  # one slow statement
        answer = api.post("/api/v1/notifications/batch", json={"notifications": [BODY] * 3})
        assert answer.status_code == 503, answer.text
        assert answer.json()["type"].endswith("database-away")
        assert int(answer.headers["Retry-After"]) > 0
        assert api.get(f"/api/v1/notifications/{single.json()['id']}").status_code == 200
    assert Notification.objects.count() == 1
    assert web.first_traceback() == ""
