"""Keys: shown once, kept hashed, limited in scope, time and rate."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings
from throttled import MemoryStore

from notifications.api import limits
from notifications.core.conf import conf
from notifications.db import clock
from notifications.models import ApiKey
from notifications.operations import api_keys
from tests.integration.notifications.api.conftest import SIMULATED, Caller


def test_the_key_itself_is_not_kept(db: None) -> None:
    row, token = api_keys.create("shop")
    secret = token.rpartition(f"_{row.prefix}_")[2]
    stored = ApiKey.objects.values().get(pk=row.pk)
    assert len(secret) == 43
    assert not any(secret in str(value) for value in stored.values())
    assert api_keys.find(token) == row


def test_a_key_ends_at_its_time(db: None) -> None:
    row, token = api_keys.create("shop", expires_at=clock.now() + timedelta(hours=1))
    assert api_keys.find(token) == row
    ApiKey.objects.filter(pk=row.pk).update(expires_at=clock.now())
    api_keys.forget()
    assert api_keys.find(token) is None


def test_a_key_revoked_elsewhere_ends_within_two_seconds(
    db: None, wait_until: Callable[..., Any]
) -> None:
    row, token = api_keys.create("shop")
    assert api_keys.find(token) == row
    ApiKey.objects.filter(pk=row.pk).update(expires_at=clock.now())  # as another process does
    wait_until(lambda: api_keys.find(token) is None)
    assert api_keys.FRESH_SECONDS < 2


def test_a_revoked_key_opens_nothing(db: None) -> None:
    row, token = api_keys.create("shop")
    api_keys.revoke(row)
    assert Caller(token)("GET", "/queues").status_code == 401


def test_a_rotated_key_overlaps_with_the_new_one(db: None) -> None:
    old, old_token = api_keys.create("shop", scopes=["read"], rate=7)
    new, new_token = api_keys.rotate(old, overlap=timedelta(hours=1))
    assert api_keys.find(old_token) == old
    assert api_keys.find(new_token) == new
    assert (new.name, new.scopes, new.rate) == ("shop", ["read"], 7)
    old.refresh_from_db()
    assert old.replaced_by == new
    assert old.expires_at is not None
    assert clock.now() < old.expires_at <= clock.now() + timedelta(hours=1)


def test_rotation_does_not_lengthen_a_key(db: None) -> None:
    soon = clock.now() + timedelta(minutes=5)
    old, _ = api_keys.create("shop", expires_at=soon)
    api_keys.rotate(old, overlap=timedelta(hours=1))
    old.refresh_from_db()
    assert old.expires_at == soon


def test_the_last_use_is_noted_but_not_on_every_request(
    call: Caller, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Callable[..., Any]
) -> None:
    monkeypatch.setattr(api_keys, "FRESH_SECONDS", 60)  # also where a second passes in between
    call.ok("GET", "/queues")
    row = ApiKey.objects.get()
    assert row.last_used_at is not None
    api_keys.forget()
    with django_assert_num_queries(1):  # found, and nothing written
        used = api_keys.find(call.headers["Authorization"].removeprefix("Bearer "))
        assert used is not None
        api_keys.note_use(used)
    with django_assert_num_queries(0):  # not even looked for, while it is fresh
        assert api_keys.find(call.headers["Authorization"].removeprefix("Bearer ")) == used
    ApiKey.objects.update(last_used_at=clock.now() - timedelta(minutes=2))
    api_keys.forget()
    call.ok("GET", "/queues")
    noted = ApiKey.objects.get().last_used_at
    assert noted is not None
    assert clock.now() - noted < timedelta(minutes=1)


def test_a_key_may_call_only_so_often(caller: Callable[..., Caller]) -> None:
    call = caller(rate=1)
    answers = [call("GET", "/problems/not-found") for _ in range(4)]
    assert {answer.status_code for answer in answers} == {200}  # nobody is asked for a key there
    answers = [call("GET", "/jobs/schema") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert int(answers[-1]["Retry-After"]) >= 1
    assert answers[-1].json()["type"].endswith("/too-many-requests")
    assert "Retry-After" in answers[-1].json()["hint"]


def test_the_limit_is_shared_by_all_processes(caller: Callable[..., Caller]) -> None:
    call = caller(rate=1)
    for _ in range(2):
        call.ok("GET", "/jobs/schema")
    limits._memory = MemoryStore()
    assert call("GET", "/jobs/schema").status_code == 429


@pytest.mark.parametrize("url", ["", "redis+socket:///nowhere/b.sock?virtual_host=1"])
def test_without_a_redis_each_process_counts_for_itself(
    caller: Callable[..., Caller],
    settings: Settings,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "_away_until", 0.0)
    settings.REDIS_URL = url
    call = caller(rate=1)
    answers = [call("GET", "/jobs/schema").status_code for _ in range(3)]
    assert answers == [200, 200, 429]


def test_the_command_shows_the_key_once(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_api_key", "shop", scopes="send,read", test=True, days=30)
    shown = capsys.readouterr()
    row = api_keys.find(shown.out.strip())
    assert row is not None
    assert (row.name, row.scopes, row.kind) == ("shop", ["read", "send"], "test")
    assert row.expires_at is not None
    assert shown.out.strip() not in shown.err


def test_the_command_rotates(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    old, _ = api_keys.create("shop", scopes=["read"])
    call_command("create_api_key", "shop", rotate=old.prefix)
    new = api_keys.find(capsys.readouterr().out.strip())
    assert new is not None
    assert new.scopes == ["read"]


@pytest.mark.parametrize(
    "options", [{"scopes": "fly"}, {"rate": 0}, {"rotate": "000000000000"}, {"days": -1}]
)
def test_the_command_refuses_what_makes_no_sense(db: None, options: dict[str, Any]) -> None:
    with pytest.raises(CommandError):
        call_command("create_api_key", "shop", **options)
    assert not ApiKey.objects.exists()


def test_a_created_key_sends(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_api_key", "shop")
    made = Caller(capsys.readouterr().out.strip()).ok("POST", "/notifications", SIMULATED)
    assert made["status"] == "queued"


def test_wrong_keys_are_logged_and_slowed_down_and_valid_ones_are_not(
    caller: Callable[..., Caller], caplog: pytest.LogCaptureFixture
) -> None:
    right = caller()
    token = right.headers["Authorization"].removeprefix("Bearer ")
    wrong = Caller(token[:-1] + ("A" if token[-1] != "A" else "B"))
    wrong.address = right.address
    tries = range(conf.api_wrong_keys_per_minute + 5)
    statuses = [wrong("GET", "/queues").status_code for _ in tries]
    assert statuses[:10] == [401] * 10
    assert statuses[-1] == 429
    assert right("GET", "/queues").status_code == 200
    told = [record for record in caplog.records if "api_key_refused" in str(record.msg)]
    assert statuses.count(401) == len(told)
    assert right.address in str(told[0].msg)
    assert "Bearer" not in caplog.text
    assert wrong("GET", "/queues")["Retry-After"]


def test_the_documents_own_batch_is_taken_with_a_key_that_was_pasted_with_its_scheme(
    client: Any, db: None, settings: Settings
) -> None:
    settings.OUTBOX = True
    document = client.get("/api/v1/openapi.json").json()
    body = document["paths"]["/api/v1/notifications/batch"]["post"]["requestBody"]["content"]
    example = body["application/json"]["examples"]["rows with texts of their own"]
    answer = client.post(
        "/api/v1/notifications/batch",
        example["value"],
        content_type="application/json",
        headers={"Authorization": f"Bearer Bearer {api_keys.create('shop').token}"},
    )
    assert answer.status_code == 202, answer.content
    assert (answer.json()["accepted"], answer.json()["refused"]) == (1, 0)
