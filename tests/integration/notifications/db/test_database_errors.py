"""A database that answers with errors is waited out, said once, and work resumes by itself."""

from collections.abc import Callable
from typing import Any

import httpx

from tests.integration.notifications.db.broken_database import (
    READ_ONLY,
    SENT,
    STATES,
    WRITABLE,
    Database,
)
from tests.servers.process import wait_until
from tests.servers.processes import RunningProcess

SIMULATED: dict[str, Any] = {"channel": "simulator", "recipient": "ada", "body": "Hello"}
# A sequence is not rolled back: it counts the tries.
SLOW_INSERT = """
CREATE SEQUENCE tries; GRANT ALL ON SEQUENCE tries TO app;
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF NEW.recipient = 'ada' THEN PERFORM nextval('tries'), pg_sleep(60); END IF; RETURN NEW; END $$;
CREATE TRIGGER trouble BEFORE INSERT ON notifications_notification FOR EACH ROW
EXECUTE FUNCTION trouble();
"""
LONGEST = 15  # seconds for which a client waits, on a machine that is busy with other tests
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"


def test_every_error_that_the_database_answers_is_waited_out(
    system: Any, database: Database, knock: Callable[..., None]
) -> None:
    made = system.run("key", "python", "manage.py", "create_api_key", "tests")
    key = next(word for word in made.split() if word.startswith("ntf_live_"))
    web, address = system.web()
    # Each with the processes of its own that meet an outage: a worker has a main one and a child.
    running = {web: 1, system.beat(): 1, system.worker("-c", "1"): 2}
    with httpx.Client(
        base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=LONGEST
    ) as api:

        def checked() -> str:
            return str(api.get("/healthz/ready").json()["checks"]["database"])

        def said(process: RunningProcess, event: str) -> int:
            return process.output().count(f"database_{event}")

        def submit() -> httpx.Response:
            return api.post("/api/v1/notifications", json=SIMULATED)

        for rounds, (reason, state) in enumerate(STATES.items(), 1):
            assert submit().status_code == 201
            wait_until(lambda: database.count(SENT) == rounds)  # noqa: B023 -- called within the round
            with state(database):
                wait_until(lambda: checked() != "ok" and checked() in reason)  # noqa: B023 -- called within the round
                assert api.get("/healthz/ready").status_code == 503
                answers = [submit() for _ in range(3)]
                for answer in answers:
                    assert (answer.status_code, answer.json()["type"][-13:]) == (
                        503,
                        "database-away",
                    )
                    assert int(answer.headers["Retry-After"]) > 0
                assert api.get("/admin/login/").status_code in (200, 503), reason
                knock("medium")  # or an idle worker would notice nothing
                for process in running:
                    wait_until(lambda: said(process, "away:") >= rounds, hint=reason)  # noqa: B023 -- called within the round
            wait_until(lambda: checked() == "ok")
            for process, count in running.items():
                wait_until(lambda: said(process, "back") == said(process, "away:"), hint=reason)  # noqa: B023 -- called within the round
                assert rounds <= said(process, "away:") <= rounds * count, reason
        assert submit().status_code == 201
        wait_until(lambda: database.count(SENT) == len(STATES) + 1)
    for process in running:
        assert process.returncode is None
        assert process.first_traceback() == ""


def test_a_write_that_has_used_up_its_time_is_not_tried_again_in_its_request(
    system: Any, database: Database
) -> None:
    made = system.run("key", "python", "manage.py", "create_api_key", "tests")
    key = next(word for word in made.split() if word.startswith("ntf_live_"))
    _, address = system.web(WEB_STATEMENT_TIMEOUT="3")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=address, headers=headers, timeout=60) as api:
        assert api.post("/api/v1/notifications", json=SIMULATED).status_code == 201
        database.run(SLOW_INSERT)
        answer = api.post("/api/v1/notifications", json=SIMULATED)
        assert (answer.status_code, answer.json()["type"][-13:]) == (503, "database-away")
    assert database.count("SELECT last_value FROM tries") == 1


def test_an_outage_is_told_of_by_its_latest_reason_and_ends_with_a_session_that_works(
    system: Any, database: Database
) -> None:
    """The watch's thread finds no connection left while those that the web has work again."""
    made = system.run("key", "python", "manage.py", "create_api_key", "tests")
    key = next(word for word in made.split() if word.startswith("ntf_live_"))
    web, address = system.web(GRANIAN_BLOCKING_THREADS="1")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=address, headers=headers, timeout=LONGEST) as api:

        def submitted() -> int:
            return api.post("/api/v1/notifications", json=SIMULATED).status_code

        def read() -> bool:
            return api.get("/api/v1/notifications").status_code == 200

        def checked() -> str:
            return str(api.get("/healthz/ready").json()["checks"]["database"])

        assert submitted() == 201
        database.set(READ_ONLY)
        try:
            wait_until(lambda: submitted() == 503)  # a session reads its settings a moment later
            assert checked() == "it is read-only"
            wait_until(lambda: read() and database.count(SESSIONS) == 1)
            database.run("ALTER ROLE app CONNECTION LIMIT 0")  # which concerns new ones only
            web.wait_for_output("database_still_away: it has no connection left (53300)")
        finally:
            database.set(WRITABLE)
        wait_until(lambda: submitted() == 201)
        wait_until(lambda: submitted() == 201 and "database_back" in web.output())
        assert checked() == "ok"
    assert web.output().count("database_away") == 1
    assert web.output().count("database_still_away") == 1
