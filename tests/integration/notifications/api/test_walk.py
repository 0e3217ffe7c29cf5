"""Every operation with every scope, by live and test keys, of one's own and of another project.

Complete by construction: an operation, or a scope, that no line here knows makes a test fail.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pytest
from django.db import transaction

from notifications.api import access
from notifications.api.application import api
from notifications.core.world import LIVE, World
from notifications.models import ApiKey
from notifications.operations import api_keys
from tests.integration.notifications.api import worlds
from tests.integration.notifications.api.conftest import Caller
from tests.integration.notifications.api.worlds import WORLDS, Rows

pytestmark = pytest.mark.django_db

SEND, READ, MANAGE, REPLAY = ({scope.value} for scope in ApiKey.Scope)


@dataclass
class Expected:
    """What an operation needs, and what it answers to who has it.

    ``shows`` says that the answer carries the mark of what was asked for. ``path`` chooses among
    the rows that its address may name; ``body`` makes its body of a world's rows.
    """

    scopes: set[str]
    status: int = 200
    path: str = ""
    body: Any = None
    shows: bool = False


def send(rows: Rows) -> dict[str, Any]:
    return {"channel": "simulator", "recipient": rows.mark, "body": "Hello"}


def job(rows: Rows) -> dict[str, Any]:
    return worlds.definition(rows.world, rows.mark, name=f"new {rows.mark}")


def reason(rows: Rows) -> dict[str, Any]:
    return {"reason": "wrong"}


def of_cause(rows: Rows) -> dict[str, Any]:
    return {"fingerprint": rows.mark, "reason": "wrong"}


def template(rows: Rows) -> dict[str, Any]:
    return {"name": f"new-{rows.mark}", "channel": "simulator"}


def stored(rows: Rows) -> dict[str, Any]:
    return {"id": f"new-{rows.mark}", "attributes": {"said": rows.mark}}


def choice(_: Rows) -> dict[str, Any]:
    return {"choices": [{"category": "marketing", "granted": True}]}


def category(rows: Rows) -> dict[str, Any]:
    return {"name": f"new-{rows.mark}"}


def window(rows: Rows) -> dict[str, Any]:
    return {"template": rows.mark, "begins": "08:00", "ends": "20:00"}


def chain(rows: Rows) -> dict[str, Any]:
    steps = [{"channel": "simulator", "recipient": rows.mark, "body": rows.mark}]
    return {"name": f"new-{rows.mark}", "steps": steps}


def chain_run(rows: Rows) -> dict[str, Any]:
    return {"chain": rows.mark}


def throttle(rows: Rows) -> dict[str, Any]:
    return {"category": rows.mark, "channel": "sms", "limit": 3}


def event(rows: Rows) -> dict[str, Any]:
    return {"name": rows.mark, "data": {"said": rows.mark}}


def rule(rows: Rows) -> dict[str, Any]:
    return {**worlds.RULE, "name": "new", "event": rows.mark, "template": rows.mark}


def audience(rows: Rows) -> dict[str, Any]:
    return {"name": f"new-{rows.mark}", "filter": {"everyone": True}}


N, B, J, F, R, T, S, D, C, E, U, P, K, W, L, Z, A, Q = (
    *("/notifications", "/notifications/batch", "/jobs", "/failed-runs"),
    *("/failed-deliveries/replays", "/templates", "/suppressions", "/failed-deliveries"),
    *("/problems", "/events", "/event-rules", "/recipients", "/categories"),
    *("/delivery-windows", "/chains", "/chain-runs", "/audiences", "/throttles"),
)
PAST = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:10:00Z", "dry_run": True}
TABLE = {
    "create_notification": Expected(SEND, 201, body=send, shows=True),
    "cancel_notification": Expected(SEND, path=N, shows=True),
    "read_notification": Expected(SEND, 409, path=N),  # it is not sent
    "list_notifications": Expected(READ, shows=True),
    "get_notification": Expected(READ, path=N, shows=True),
    "create_batch": Expected(SEND, 202, body=lambda rows: [send(rows)]),
    "pause_batch": Expected(SEND, path=B, shows=True),
    "resume_batch": Expected(SEND, 409, path=B),  # it is not paused
    "cancel_batch": Expected(SEND, path=B, shows=True),
    "list_batches": Expected(READ, shows=True),
    "get_batch": Expected(READ, path=B, shows=True),
    "get_batch_errors": Expected(READ, path=B, shows=True),
    "create_job": Expected(MANAGE | SEND, 201, body=job, shows=True),
    "change_job": Expected(
        MANAGE | SEND, path=J, body=lambda _: {"schedule": {"every": 60}}, shows=True
    ),
    "resume_job": Expected(MANAGE | SEND, path=J, shows=True),
    "run_job": Expected(MANAGE | SEND, 202, path=J),
    "backfill_job": Expected(MANAGE | SEND, path=J, body=lambda _: PAST),
    "pause_job": Expected(MANAGE, path=J, shows=True),
    "delete_job": Expected(MANAGE, 204, path=J),
    "get_job_schema": Expected(READ),
    "list_jobs": Expected(READ, shows=True),
    "get_job": Expected(READ, path=J, shows=True),
    "list_next_fires": Expected(READ, path=J),
    "list_fires": Expected(READ, path=J, shows=True),
    "list_failed_runs": Expected(READ, shows=True),
    "list_failed_run_causes": Expected(READ, shows=True),
    "get_failed_run": Expected(READ, path=F, shows=True),
    "replay_failed_runs": Expected(REPLAY | SEND, 202, body=lambda rows: {"cause": rows.mark}),
    "replay_failed_run": Expected(REPLAY | SEND, 202, path=F),
    "discard_failed_run": Expected(REPLAY, path=F, body=reason, shows=True),
    "create_template": Expected(MANAGE, 201, body=template, shows=True),
    "create_version": Expected(MANAGE, 201, path=T, body=lambda _: {"parts": {"body": "Hi"}}),
    "publish_version": Expected(MANAGE, path=T, shows=True),
    "roll_back_template": Expected(MANAGE, path=T, body=lambda _: {"version": 1}, shows=True),
    "list_templates": Expected(READ, shows=True),
    "get_template": Expected(READ, path=T, shows=True),
    "get_version": Expected(READ, path=T, shows=True),
    "preview_template": Expected(READ, path=T, body=lambda _: {}, shows=True),
    "list_failed_deliveries": Expected(READ, shows=True),
    "list_causes": Expected(READ, shows=True),
    "get_failed_delivery": Expected(READ, path=D, shows=True),
    "get_bulk_replay": Expected(READ, path=R, shows=True),
    "create_bulk_replay": Expected(
        REPLAY, 202, body=lambda rows: {"fingerprint": rows.mark, "per_second": 1}, shows=True
    ),
    "replay_failed_delivery": Expected(REPLAY, 201, path=D),
    "discard_failed_delivery": Expected(REPLAY, path=D, body=reason, shows=True),
    "discard_failed_deliveries": Expected(REPLAY, body=of_cause),
    "create_suppression": Expected(
        MANAGE,
        201,
        body=lambda rows: {"channel": "simulator", "recipient": rows.mark},
        shows=True,
    ),
    "lift_suppression": Expected(MANAGE, 204, path=S),
    "list_suppressions": Expected(READ, shows=True),
    "save_recipient": Expected(MANAGE, 201, body=stored, shows=True),
    "import_recipients": Expected(MANAGE, 415, body=stored),  # which is no CSV
    "delete_recipient": Expected(MANAGE, 204, path=P),
    "list_recipients": Expected(READ, shows=True),
    "get_recipient": Expected(READ, path=P, shows=True),
    "get_preferences": Expected(READ, path=P, shows=True),
    "set_preferences": Expected(MANAGE, path=P, body=choice, shows=True),
    "list_consent": Expected(READ, path=P, shows=True),
    "list_categories": Expected(READ, shows=True),
    "save_category": Expected(MANAGE, 201, body=category, shows=True),
    "delete_category": Expected(MANAGE, 204, path=K),
    "list_windows": Expected(READ, shows=True),
    "save_window": Expected(MANAGE, 201, body=window, shows=True),
    "change_window": Expected(MANAGE, path=W, body=lambda _: {"spread": 5}, shows=True),
    "delete_window": Expected(MANAGE, 204, path=W),
    "list_throttles": Expected(READ, shows=True),
    "save_throttle": Expected(MANAGE, 201, body=throttle, shows=True),
    "delete_throttle": Expected(MANAGE, 204, path=Q),
    "list_chains": Expected(READ, shows=True),
    "save_chain": Expected(MANAGE, 201, body=chain, shows=True),
    "delete_chain": Expected(MANAGE, 204, path=L),
    "start_chain": Expected(SEND, 201, body=chain_run, shows=True),
    "get_chain_run": Expected(READ, path=Z, shows=True),
    "cancel_chain_run": Expected(SEND, path=Z, shows=True),
    "list_audiences": Expected(READ, shows=True),
    "save_audience": Expected(MANAGE, 201, body=audience, shows=True),
    "get_audience": Expected(READ, path=A, shows=True),
    "delete_audience": Expected(MANAGE, 204, path=A),
    "preview_audience": Expected(READ, path=A, shows=True),
    "preview_filter": Expected(READ, body=lambda _: {"filter": {"everyone": True}}, shows=True),
    "create_event": Expected(SEND, 201, body=event, shows=True),
    "list_events": Expected(READ, shows=True),
    "get_event": Expected(READ, path=E, shows=True),
    "create_event_rule": Expected(MANAGE | SEND, 201, body=rule, shows=True),
    "change_event_rule": Expected(MANAGE | SEND, path=U, body=lambda _: {"delay": 60}, shows=True),
    "delete_event_rule": Expected(MANAGE, 204, path=U),
    "list_event_rules": Expected(READ, shows=True),
    "get_event_rule": Expected(READ, path=U, shows=True),
    "list_providers": Expected(READ),
    "list_queues": Expected(READ),
    "get_problem": Expected(set(), path=C),
}

OPERATIONS = {
    operation.view_func.__name__: (operation.methods[0], f"/{bound.prefix.strip('/')}{path}")
    for bound in api._get_bound_routers()
    for path, view in bound.path_operations.items()
    for operation in view.operations
}


def test_the_table_knows_every_operation_and_every_scope() -> None:
    documented = {
        operation["operationId"]
        for methods in api.get_openapi_schema()["paths"].values()
        for operation in methods.values()
    }
    assert documented == TABLE.keys() == OPERATIONS.keys() == access.OPERATIONS.keys()
    assert set.union(*(line.scopes for line in TABLE.values())) == set(ApiKey.Scope.values)
    for name, scope in access.OPERATIONS.items():
        assert (scope in TABLE[name].scopes) if scope else not TABLE[name].scopes


def test_an_operation_that_the_table_lacks_keeps_the_process_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("get_job", "get_problem"):
        with monkeypatch.context() as changed:
            changed.delitem(access.OPERATIONS, name)
            with pytest.raises(LookupError, match=name):
                access.guard(api)


SCOPES = [
    frozenset(some)
    for count in range(1, len(ApiKey.Scope) + 1)
    for some in combinations(ApiKey.Scope.values, count)
]


@pytest.fixture(scope="module")
def walks(django_db_setup: None, django_db_blocker: Any) -> Iterator[Any]:
    """Make the worlds once, in a transaction that the module's tests share: each undoes its own."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield Walks(worlds.furnish_all())
        transaction.set_rollback(True)


class Walks:
    """Calls operations with the rows and keys of each world, and undoes what came of it."""

    def __init__(self, furnished: dict[World, Rows]) -> None:
        self.furnished, self.before = furnished, worlds.state()
        self._keys = {(world, scopes): _key(world, scopes) for world in WORLDS for scopes in SCOPES}

    def key(self, who: World | None, scopes: set[str]) -> Caller:
        """Return a caller with a key of ``who``."""
        return self._keys[who, frozenset(scopes)] if who else Caller(None)

    @contextmanager
    def undone(self) -> Iterator[Callable[[], dict[Any, str | None]]]:
        """Undo what is done meanwhile. What it gives tells the rows that are not as they were."""
        try:
            with transaction.atomic():
                yield self._changed
                transaction.set_rollback(True)
        finally:
            worlds.forget()

    def _changed(self) -> dict[Any, str | None]:
        after = worlds.state()
        keys = self.before.keys() | after.keys()
        return {
            key: after.get(key, ("", None))[1]
            for key in keys
            if self.before.get(key) != after.get(key)
        }


def _key(world: World, scopes: frozenset[str]) -> Caller:
    kind = "test" if world.test else "live"
    made = api_keys.create("tests", scopes=set(scopes), kind=kind, project=world.project)
    return Caller(made.token)


class Walk:
    """Calls one operation."""

    def __init__(self, name: str, walks: Walks) -> None:
        self.line = TABLE[name]
        self.method, self.path = OPERATIONS[name]
        self.walks, self.furnished = walks, walks.furnished

    def ask(self, who: World | None, scopes: set[str], at: World) -> tuple[int, str]:
        """Return the answer to a key of ``who`` who asks for the rows of the world ``at``."""
        caller, rows = self.walks.key(who, scopes), self.furnished[at]
        values = rows.paths.get(self.line.path, {})
        path = re.sub(r"\{(?:\w+:)?(\w+)\}", lambda found: str(values[found[1]]), self.path)
        response = caller(self.method, path, self.line.body(rows) if self.line.body else None)
        return response.status_code, b"".join(response).decode()  # also where it is streamed

    def call(self, who: World, scopes: set[str], at: World) -> tuple[int, str, set[Any]]:
        """Ask, and return also the rows that changed. New ones are the asker's, undone."""
        with self.walks.undone() as changed:
            status, said = self.ask(who, scopes, at)
            rows = changed()
        for key, whose in rows.items():
            if key not in self.walks.before:
                assert whose in (None, f"{who.project}{':test' * who.test}")
        return status, said, {*rows}


@pytest.mark.parametrize("name", TABLE)
def test_an_operation_does_its_own_for_who_may_and_nothing_for_anybody_else(
    name: str, walks: Walks
) -> None:
    walk = Walk(name, walks)
    _for_who_may(walk)
    with walks.undone() as changed:
        _without_a_scope(walk)
        if walk.line.path and walk.line.scopes:
            _of_another_world(walk)
        assert not changed()
    if not walk.line.path:
        _without_naming_a_row(walk)


def _for_who_may(walk: Walk) -> None:
    for world in WORLDS:
        status, said, _ = walk.call(world, walk.line.scopes or READ, at=world)
        assert status == walk.line.status, (world, said)
        assert (walk.furnished[world].mark in said) == walk.line.shows, (world, said)


def _without_a_scope(walk: Walk) -> None:
    if not walk.line.scopes:
        return
    everything = set(ApiKey.Scope.values)
    lacking = [{scope} for scope in everything if {scope} != walk.line.scopes]
    lacking += [everything - {scope} for scope in walk.line.scopes]
    for world in (LIVE, World(test=True)):
        for scopes in lacking:
            status, said = walk.ask(world, scopes, at=world)
            assert status == 403, (world, scopes, said)
            assert walk.furnished[world].mark not in said
    assert walk.ask(None, set(), at=LIVE)[0] == 401


OTHERS = [
    (who, at)
    for at in WORLDS
    for who in WORLDS
    if who not in (at, World(at.project))  # a project sees its own tests
]


def _of_another_world(walk: Walk) -> None:
    for who, at in OTHERS:
        status, said = walk.ask(who, walk.line.scopes, at=at)
        assert status == 404, (who, at, said)


def _without_naming_a_row(walk: Walk) -> None:
    for who, at in OTHERS:
        status, said, changed = walk.call(who, walk.line.scopes or READ, at=at)
        assert not changed & walk.furnished[at].keys, (who, at)
        if status != 404 and not walk.line.body:  # else it repeats what it was told
            assert walk.furnished[at].mark not in said, (who, at)
