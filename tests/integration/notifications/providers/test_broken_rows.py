"""A row of accounts or limits that holds what no program of ours writes costs itself alone."""

from collections.abc import Callable
from typing import Any, Never

import pytest
from django.db import connection

from notifications.models import Notification, RateLimit
from notifications.monitoring import diagnosis, exposition, overview, state
from notifications.monitoring.diagnosis import (
    broker,
    delivery,
    locks,
    schedules,
    storage,
    unreadable,
)
from notifications.providers import accounts
from notifications.submission import send, send_many

DIGITS = '{"n": ' + "9" * 5000 + "}"
BROKEN = [
    *(("settings", value) for value in (DIGITS, "[" * 12_000 + "]" * 12_000, "[1]", '"x"', "null")),
    *(("secrets", value) for value in (DIGITS, "[1]", "7")),
    ("rate_limit", "often"),
    ("updated_at", "infinity"),
]


def write(column: Any, value: Any) -> None:
    """Write by SQL, as a hand or another program would."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE notifications_provideraccount SET {column} = %s WHERE name = 'bad'", [value]
        )
    accounts.forget()


def findings(probe: Any) -> dict[Any, Any]:
    return {finding.id: finding.problem for finding in probe()}


def test_an_account_that_cannot_be_read_is_passed_over(
    account: Callable[..., Any], deliver: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    bad = account("bad")
    account("good")
    for column, value in BROKEN:
        bad.save()  # as it was
        accounts.forget()
        assert not [
            candidate.problem for candidate in accounts.candidates("sms") if candidate.problem
        ]
        write(column, value)
        caplog.clear()
        each = [{"recipient": f"+43664{12345670 + number}"} for number in range(5)]
        submitted = send_many(each, channel="sms", body="Hello")
        rows = deliver(*Notification.objects.filter(batch=submitted.batch))
        told = [(row.status, row.provider, row.attempt_count) for row in rows]
        assert told == [("sent", "good", 1)] * 5, column
        [row] = deliver(send(channel="simulator", recipient="ada", body="Hello"))
        assert row.status == "sent"
        accounts.forget()
        assert (
            "bad cannot be used: It cannot be read"
            in findings(delivery.providers)["provider.unusable"]
        )
        assert caplog.text.count("provider_account_unusable") == 1, "said once"
        assert {p.name for p in overview.read().providers} >= {"bad", "good"}
        assert b"notifications_state_parts_faulty 0.0" in exposition.exposed(with_state=True)


def test_what_only_such_an_account_could_send_waits_untried(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("bad")
    write("rate_limit", "often")
    [row] = deliver(text())
    assert (row.status, row.attempt_count) == ("scheduled", 0)
    write("rate_limit", "")
    Notification.objects.update(status="queued")
    [row] = deliver(row)
    assert (row.status, row.provider) == ("sent", "bad")


def test_a_limit_that_cannot_be_read_is_named_and_the_others_hold(
    account: Callable[..., Any], text: Callable[..., Notification], deliver: Callable[..., Any]
) -> None:
    account("good")
    for scope, rate in (("recipient", "1/h"), ("template", "often")):
        RateLimit.objects.create(channel="sms", scope=scope, rate=rate)
    accounts.forget()
    first, second = deliver(text(), text())
    assert {first.status, second.status} == {"sent", "scheduled"}
    assert "sms per template" in findings(delivery.limits)["provider.limit"]


def test_what_reads_all_tables_leaves_out_what_cannot_be_read(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Never:
        """No table is broken."""
        raise OverflowError("ada@example.org")

    monkeypatch.setattr(state, "PARTS", (broken, *state.PARTS))
    shown = exposition.exposed(with_state=True)
    assert b"notifications_state_parts_faulty 1.0" in shown
    assert b"notifications_dead_letters_open 0.0" in shown
    assert b"notifications_database_up 1.0" in shown
    monkeypatch.setattr(delivery, "PROBES", (broken, *delivery.PROBES))
    found = findings(diagnosis.examine)
    assert "OverflowError" in found["doctor.probe"]
    assert "ada@example.org" not in found["doctor.probe"]
    assert "workers.none" in found


def test_a_probe_that_fails_says_what_to_do_about_what_it_reads(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO scheduling_schedulerprocess (name, started_at, seen_at, ticked_at)"
            " VALUES ('beat', now(), 'infinity', now() - interval '1 hour')"
        )
    probes = [*schedules.PROBES, *delivery.PROBES, storage.database, locks.waits, broker.reachable]
    general = unreadable.cure(lambda: ())
    assert general.startswith("If nothing there is wrong, the probe has a fault")
    for probe in probes:
        assert unreadable.cure(probe).removesuffix(general), probe
    monkeypatch.setattr(delivery, "PROBES", ())
    found = [f for f in diagnosis.examine() if f.id == "doctor.probe"]
    assert [f.cure for f in found] == [unreadable.cure(schedules.hung)]
    assert "each scheduler that lives writes its own" in found[0].cure
